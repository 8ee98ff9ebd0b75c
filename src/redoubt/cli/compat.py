"""``redoubt compat``: the command lines of BigDL PPML's Java programs, with their options' names.

``GenerateKeys`` → ``compat generate-keys``, ``tpch.EncryptFiles`` → ``compat encrypt-files``, ``tpch.TpchQuery`` →
``compat tpch``. A key file holds the *name* of a Redoubt key; nothing secret is ever written beside data, and no
secret is taken on a command line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.output import counted
from redoubt.cli.progress import bytes_bar
from redoubt.cli.session import Session, command, group
from redoubt.compat.names import Service
from redoubt.errors import LegacyKeyInvalid, LegacyUnsupported, UsageError

if TYPE_CHECKING:
    from redoubt.keys.names import KeyName
    from redoubt.keys.workspace import Workspace

app = group("The command lines of BigDL PPML, with their options' names, on sealed data.")

KmsTypeOption = Annotated[Service, typer.Option("--kmsType", help="The service, as BigDL PPML calls it.")]
VaultOption = Annotated[
    str | None, typer.Option("--vaultName", metavar="NAME", help="Of AzureKeyManagementService: the vault.")
]
ClientOption = Annotated[
    str | None, typer.Option("--clientId", metavar="ID", help="Of AzureKeyManagementService: the managed identity.")
]
IpOption = Annotated[
    str | None, typer.Option("--kmsServerIP", metavar="HOST", help="Of EHSMKeyManagementService: its host.")
]
PortOption = Annotated[int, typer.Option("--kmsServerPort", metavar="N", help="Of EHSMKeyManagementService: its port.")]
AppIdOption = Annotated[
    str | None, typer.Option("--ehsmAPPID", metavar="ID", help="Of EHSMKeyManagementService: the application.")
]
ApiKeyOption = Annotated[
    Path | None,
    typer.Option("--ehsmAPIKEY", metavar="FILE", help="A 0600 file with the API key; the key itself is refused."),
]
PrimaryOption = Annotated[Path, typer.Option("--primaryKeyPath", metavar="FILE", help="The primary key's file.")]
DataOption = Annotated[
    Path | None, typer.Option("--dataKeyPath", metavar="FILE", help="The data key's file; data keys are made a write.")
]
#: Service → the namespace of its keys, and the key in it.
_NAMESPACES = {Service.AZURE: "ppml-azure", Service.EHSM: "ppml-ehsm"}


@command(
    app,
    name="generate-keys",
    example="redoubt compat generate-keys --kmsType SimpleKeyManagementService --primaryKeyPath keys/primaryKey "
    "--dataKeyPath keys/dataKey",
)
def generate_keys(
    session: Session,
    *,
    primary_key: PrimaryOption,
    data_key: DataOption = None,
    kms_type: KmsTypeOption = Service.SIMPLE,
    vault: VaultOption = None,
    client_id: ClientOption = None,
    server_ip: IpOption = None,
    server_port: PortOption = 9000,
    app_id: AppIdOption = None,
    api_key: ApiKeyOption = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME", help="The Redoubt key to make or use, of whichever provider.")
    ] = None,
) -> None:
    """Make a primary key at the service's provider, and write its name into the files.

    SimpleKeyManagementService, whose keys anybody could open, becomes the workspace's default key.
    """
    from redoubt.compat.primary_keys import make_key

    workspace = session.workspace
    name = (
        workspace.resolve(key)
        if key
        else _key_of(session, workspace, kms_type, vault, client_id, server_ip, server_port, app_id, api_key)
    )
    files = [it for it in (primary_key, data_key) if it is not None]
    new = make_key(workspace, name, *files)
    session.output.result(
        {"key": str(name), "new": new, "files": [str(it) for it in files]},
        text=f"{name} {'is new' if new else 'exists'}; {counted(len(files), 'file')} with its name",
    )


@command(
    app,
    name="encrypt-files",
    example="redoubt compat encrypt-files --kmsType SimpleKeyManagementService --primaryKeyPath keys/primaryKey "
    "--dataKeyPath keys/dataKey --inputPath dbgen --outputPath dbgen-encrypted",
)
def encrypt_files(
    session: Session,
    *,
    primary_key: PrimaryOption,
    input_path: Annotated[Path, typer.Option("--inputPath", metavar="DIR", help="What to seal.")],
    output_path: Annotated[Path, typer.Option("--outputPath", metavar="DIR", help="The sealed dataset.")],
    data_key: DataOption = None,
    kms_type: KmsTypeOption = Service.SIMPLE,
    vault: VaultOption = None,
) -> None:
    """Seal the files of a folder as one dataset, under the key that the primary key's file names."""
    from redoubt.sealed.transfer import folder_files, seal_folder

    del data_key, kms_type, vault  # the key's name says where it lives, and data keys are made for this write
    key = _named_key(primary_key)
    if output_path.resolve().is_relative_to(input_path.resolve()):
        raise UsageError(f"{output_path} is, or lies in, the folder {input_path} that would be sealed")
    files = folder_files(input_path)
    total = sum(path.stat().st_size for path, _ in files)
    with bytes_bar("sealing", total, quiet=session.options.json) as progress:
        dataset = seal_folder(files, str(output_path), keys=session.workspace, key=str(key), progress=progress)
    session.output.result(
        {"location": str(output_path), "key": str(key), "commit_digest": dataset.commit_digest, "files": len(files)},
        text=f"sealed {counted(len(files), 'file')} as {output_path} under {key}\n{dataset.commit_digest}",
    )


@command(app, example="redoubt compat tpch dbgen-encrypted out AES/CBC/PKCS5Padding AES/CBC/PKCS5Padding 6")
def tpch(
    session: Session,
    input_dir: Annotated[Path, typer.Argument(metavar="INPUT", help="Folder or dataset with *.tbl, plain or sealed.")],
    output_dir: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A new folder for answers and TIMES.txt.")],
    input_mode: Annotated[str, typer.Argument(metavar="MODE", help="How the tables are read.")],
    output_mode: Annotated[str, typer.Argument(metavar="MODE", help="How the answers are written.")],
    query: Annotated[int | None, typer.Argument(metavar="[QUERY]", help="One of the 22 (default: all).")] = None,
    *,
    allow_plaintext: Annotated[
        bool, typer.Option("--allow-plaintext", help="Let plain_text answers be written in clear.")
    ] = False,
    scale: Annotated[float, typer.Option("--scale", metavar="F", help="Scale factor; query 11 depends on it.")] = 1.0,
    master: Annotated[str, typer.Option("--master", metavar="URL", help="Spark master.")] = "local[*]",
) -> None:
    """Run TPC-H queries on tables that dbgen wrote. AES means sealed data; plain_text answers need a grant."""
    from redoubt.compat.crypto_mode import CryptoMode
    from redoubt.compat.tpch import load_tables
    from redoubt.errors import PlaintextRefused
    from redoubt.spark.application import session as spark_session
    from redoubt.spark.application import stop
    from redoubt.workloads.tpch.run import run_queries, write_answers
    from redoubt.workloads.tpch.sql import QUERY_NUMBERS

    reads, writes = CryptoMode.parse(input_mode), CryptoMode.parse(output_mode)
    if query is not None and query not in QUERY_NUMBERS:
        raise UsageError(f"TPC-H has queries 1 to 22, not {query}")
    if writes is CryptoMode.PLAIN_TEXT and not allow_plaintext:
        raise PlaintextRefused(
            f"the answers in {output_dir} would be plain text",
            hint=f"Name {CryptoMode.AES_CBC_PKCS5PADDING.value} as the last mode, or grant it with --allow-plaintext.",
        )
    numbers = [query] if query is not None else list(QUERY_NUMBERS)
    spark = spark_session("redoubt compat tpch", keys=session.workspace, master=master)
    try:
        tables = load_tables(spark, input_dir, sealed=reads is not CryptoMode.PLAIN_TEXT, scale=scale)
        answers = run_queries(spark, tables, numbers, api="dataframe")
        write_answers(spark, answers, output_dir, sealed=writes is not CryptoMode.PLAIN_TEXT)
    finally:
        stop(spark)
    rows = [(f"Q{it.number:02d}", len(it.rows), f"{it.seconds:.2f}") for it in answers]
    session.output.table(
        {"queries": [{"query": it.number, "rows": len(it.rows), "seconds": it.seconds} for it in answers]},
        columns=("query", "rows", "seconds"),
        rows=rows,
    )
    session.output.say(f"----------------{len(answers)} finished--------------------")


def _named_key(path: Path) -> KeyName:
    from redoubt.compat.unwrap import read_key_file
    from redoubt.keys.names import KeyName

    text = read_key_file(path, what="the primary key")
    if not text.startswith("key:"):
        raise LegacyKeyInvalid(
            f"{path} is a key of BigDL PPML, under which nothing is encrypted any more",
            hint="Make another with `redoubt compat generate-keys`; `redoubt import-ppml` migrates what it opens.",
        )
    return KeyName.parse(text)


def _key_of(
    session: Session,
    workspace: Workspace,
    kind: Service,
    vault: str | None,
    client_id: str | None,
    server_ip: str | None,
    server_port: int,
    app_id: str | None,
    api_key: Path | None,
) -> KeyName:
    """Return the key that *kind* stands for, with its namespace mapped to the service's provider."""
    if kind not in _NAMESPACES:
        if kind is not Service.SIMPLE:
            raise LegacyUnsupported(
                f"{kind} makes no keys here: its keys are not safe with it",
                hint="Use SimpleKeyManagementService, which is this workspace's keystore, or a broker's namespace.",
            )
        session.output.say("SimpleKeyManagementService hides nothing: this workspace's default key takes its place")
        return workspace.config.default_key  # under it programs may create datasets without a manifest of their own
    namespace = _NAMESPACES[kind]
    if kind is Service.AZURE:
        if vault is None:
            raise UsageError("AzureKeyManagementService needs --vaultName")
        settings = {"url": f"https://{vault}.vault.azure.net"} | ({"client_id": client_id} if client_id else {})
        provider = "azure"
    else:
        if server_ip is None or app_id is None or api_key is None:
            raise UsageError("EHSMKeyManagementService needs --kmsServerIP, --ehsmAPPID and --ehsmAPIKEY")
        if not api_key.is_file():
            raise UsageError(
                "--ehsmAPIKEY names no file: a key on a command line is seen by whoever lists processes",
                hint="Put it into a 0600 file, and name that. What was typed is known to others: change it.",
            )
        settings = {
            "url": f"https://{server_ip}:{server_port}",
            "appid": app_id,
            "apikey_file": os.path.relpath(api_key.resolve(), workspace.folder),
        }
        provider = "ehsm"
    if namespace not in workspace.config.namespaces:
        workspace.map_namespace(namespace, provider, settings=settings)
    return workspace.resolve(f"{namespace}/ppml")
