"""``redoubt manifest init`` and ``add-…``: tables of a manifest from the command line, in a file that stays editable.

An added table is checked by itself at once; what the manifest as a whole still lacks is said and is no error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.files import read_file, write_file
from redoubt.cli.session import Session, command, group
from redoubt.errors import AlreadyExists, UsageError
from redoubt.limits import MAX_MANIFEST_BYTES, MAX_PROGRAM_BYTES

if TYPE_CHECKING:
    from redoubt.trust.edit import Toml

app = group("Write, sign and set the owners' manifest: what may run where, and which data it gets.")

DEFAULT = Path("manifest.toml")
MAKE_MANIFEST = "Write one: `redoubt manifest init --owner NAME`, or name it with --manifest FILE."
OWNERS = "owners"
FileOption = Annotated[Path, typer.Option("--manifest", metavar="FILE", help="The manifest, TOML.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name in the manifest.")]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The private key; made if there is none (default: in the workspace)."),
]
PublicKeyOption = Annotated[
    str | None, typer.Option("--public-key", metavar="KEY", help="The public key, ed25519:…, if it is another's.")
]
_SHOWN = 6
#: A whole number on the command line is at most so long; longer runs of digits are byte strings in hex.
_DIGITS = 10


@command(app, example="redoubt manifest init --owner alice")
def init(
    session: Session,
    *,
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="The first owner.")],
    key: KeyOption = None,
    manifest: FileOption = DEFAULT,
) -> None:
    """Start a manifest: a TOML file with one owner, whose signing key is made in the workspace (0600)."""
    from redoubt.trust.edit import new_draft

    if manifest.exists():
        raise AlreadyExists(f"{manifest} exists", hint="Edit it, or name another file with --manifest.")
    public = _public_key(session, owner, key, None)
    write_file(manifest, new_draft(owner=owner, key=public).encode(), replace=False)
    session.output.result({"manifest": str(manifest), "owner": owner, "key": public}, text=f"made {manifest}")
    _say_what_is_missing(session, manifest)


@command(app, name="add-owner", example="redoubt manifest add-owner bob --public-key ed25519:…")
def add_owner(
    session: Session,
    name: NameArgument,
    *,
    public_key: PublicKeyOption = None,
    key: KeyOption = None,
    manifest: FileOption = DEFAULT,
) -> None:
    """Add an owner: someone who must sign for the datasets that name them."""
    _add(session, manifest, ("owners", name), {"key": _public_key(session, name, key, public_key)})


@command(app, name="add-recipient", example="redoubt manifest add-recipient carol --public-key ed25519:…")
def add_recipient(
    session: Session,
    name: NameArgument,
    *,
    public_key: Annotated[str, typer.Option("--public-key", metavar="KEY", help="Their public key, ed25519:…")],
    manifest: FileOption = DEFAULT,
) -> None:
    """Add a recipient: someone who may get results in the clear."""
    _add(session, manifest, ("recipients", name), {"key": public_key})


@command(
    app,
    name="add-dataset",
    example="redoubt manifest add-dataset sales --id 0b8e… --owner alice --key key:main/sales.hw",
)
def add_dataset(
    session: Session,
    name: NameArgument,
    *,
    dataset_id: Annotated[str, typer.Option("--id", metavar="UUID", help="The id that `redoubt inspect` shows.")],
    owner: Annotated[list[str], typer.Option("--owner", metavar="NAME", help="An owner; repeatable.")],
    key: Annotated[list[str], typer.Option("--key", metavar="KEY", help="A primary key, in full; repeatable.")],
    approvals: Annotated[
        int | None, typer.Option("--approvals", metavar="N", min=1, help="So many owners must sign (default: all).")
    ] = None,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", metavar="NAME", help="Who may get it in the clear; repeatable.")
    ] = None,
    manifest: FileOption = DEFAULT,
) -> None:
    """Add a dataset."""
    fields: dict[str, Toml] = {"id": dataset_id, "owners": owner, "keys": key}
    if approvals is not None:
        fields["approvals"] = approvals
    if recipient:
        fields["recipients"] = recipient
    _add(session, manifest, ("datasets", name), fields)


@command(app, name="add-program", example="redoubt manifest add-program monthly --descriptor program.json")
def add_program(
    session: Session,
    name: NameArgument,
    *,
    digest: Annotated[str | None, typer.Option("--digest", metavar="DIGEST", help="The descriptor's digest.")] = None,
    descriptor: Annotated[Path | None, typer.Option("--descriptor", metavar="FILE", help="The descriptor.")] = None,
    binding: Annotated[
        str | None, typer.Option("--binding", metavar="LEVEL", help="measurement, extended, agent or asserted.")
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option("--arguments", metavar="JSON", help="A list of patterns, one an argument; repeatable."),
    ] = None,
    measurement: Annotated[
        list[str] | None,
        typer.Option("--measurement", metavar="TEE=HEX", help="The image's measurement on a TEE; repeatable."),
    ] = None,
    manifest: FileOption = DEFAULT,
) -> None:
    """Add a program, by the digest of its descriptor."""
    from redoubt.trust.program import ProgramDescriptor

    if (digest is None) == (descriptor is None):
        raise UsageError("name the program once: with --digest or with --descriptor")
    if descriptor is not None:
        digest = ProgramDescriptor.parse(read_file(descriptor, limit=MAX_PROGRAM_BYTES)).digest
    fields: dict[str, Toml] = {"digest": digest or ""}
    if binding is not None:
        fields["binding"] = binding
    if arguments:
        fields["arguments"] = [_json_list(it) for it in arguments]
    if measurement:
        fields["measurements"] = _pairs(measurement, "--measurement", typed=False)
    _add(session, manifest, ("programs", name), fields)


@command(
    app,
    name="add-tee",
    example="redoubt manifest add-tee amd --kind snp --binding measurement --program-claim snp.host_data "
    "--reference snp.vmpl=0 --reference snp.measurement=5c… --minimum snp.tcb.snp=20 …",
)
def add_tee(
    session: Session,
    name: NameArgument,
    *,
    kind: Annotated[str, typer.Option("--kind", metavar="TEE", help="sgx, tdx, snp, az-snp-vtpm, az-tdx-vtpm, tpm …")],
    binding: Annotated[str, typer.Option("--binding", metavar="LEVEL", help="How it binds programs.")],
    program_claim: Annotated[
        str | None, typer.Option("--program-claim", metavar="CLAIM", help="The claim in which it shows the program.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option("--reference", metavar="CLAIM=VALUE", help="An allowed value; repeatable.")
    ] = None,
    minimum: Annotated[
        list[str] | None, typer.Option("--minimum", metavar="CLAIM=N", help="A least number; repeatable.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", metavar="WORD", help="An allowed TCB status; repeatable.")
    ] = None,
    refuse_advisory: Annotated[
        list[str] | None, typer.Option("--refuse-advisory", metavar="ID", help="A refused advisory; repeatable.")
    ] = None,
    chip: Annotated[
        list[str] | None, typer.Option("--chip", metavar="HEX", help="An allowed chip; repeatable (default: any).")
    ] = None,
    allow_debug: Annotated[
        bool, typer.Option("--allow-debug", help="Allow SNP guests whose policy permits debugging.")
    ] = False,
    manifest: FileOption = DEFAULT,
) -> None:
    """Add a TEE, with the values that its claims must have."""
    fields: dict[str, Toml] = {"kind": kind, "binding": binding}
    if program_claim is not None:
        fields["program_claim"] = program_claim
    for field, values in (("statuses", status), ("refused_advisories", refuse_advisory), ("chips", chip)):
        if values:
            fields[field] = values
    if allow_debug:
        fields["debug"] = True
    if reference:
        fields["reference"] = _pairs(reference, "--reference", typed=True)
    if minimum:
        numbers = _pairs(minimum, "--minimum", typed=True)
        if any(len(values) != 1 for values in numbers.values()):
            raise UsageError("--minimum names a claim twice")
        fields["minimum"] = {claim: values[0] for claim, values in numbers.items()}
    _add(session, manifest, ("tees", name), fields)


@command(app, name="add-grant", example="redoubt manifest add-grant --program monthly --tee amd --dataset sales --read")
def add_grant(
    session: Session,
    *,
    program: Annotated[str, typer.Option("--program", metavar="NAME", help="The program.")],
    tee: Annotated[str, typer.Option("--tee", metavar="NAME", help="The TEE.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="NAME", help="The dataset.")],
    read: Annotated[bool, typer.Option("--read", help="It may read.")] = False,
    write: Annotated[bool, typer.Option("--write", help="It may write.")] = False,
    create: Annotated[bool, typer.Option("--create", help="It may make datasets that belong to this one.")] = False,
    manifest: FileOption = DEFAULT,
) -> None:
    """Let a program, on a TEE, read or write a dataset, or create datasets in it."""
    actions = [word for word, wanted in (("read", read), ("write", write), ("create", create)) if wanted]
    if not actions:
        raise UsageError("a grant needs at least one of --read, --write, --create")
    fields: dict[str, Toml] = {"program": program, "tee": tee, "dataset": dataset, "actions": actions}
    _add_entry(session, manifest, "grants", fields, text=f"{program} on {tee} may {' and '.join(actions)} {dataset}")


@command(
    app,
    name="add-role",
    example="redoubt manifest add-role --program monthly --tee amd --domain analytics --role driver",
)
def add_role(
    session: Session,
    *,
    program: Annotated[str, typer.Option("--program", metavar="NAME", help="The program.")],
    tee: Annotated[str, typer.Option("--tee", metavar="NAME", help="The TEE.")],
    domain: Annotated[str, typer.Option("--domain", metavar="DOMAIN", help="The trust domain.")],
    role: Annotated[
        list[str],
        typer.Option(
            "--role", metavar="ROLE", help="Of a Spark cluster: master, worker, executor, driver; repeatable."
        ),
    ],
    manifest: FileOption = DEFAULT,
) -> None:
    """Let a program, on a TEE, take a role in a trust domain: be a part of its cluster."""
    fields: dict[str, Toml] = {"program": program, "tee": tee, "domain": domain, "roles": role}
    _add_entry(session, manifest, "roles", fields, text=f"{program} on {tee} may be {' and '.join(role)} in {domain}")


def owner_key_path(session: Session, owner: str) -> Path:
    """Return where the workspace keeps the key of *owner*; raises UsageError for what is no name."""
    from redoubt.keys.names import LABEL

    if not LABEL.fullmatch(owner):
        raise UsageError(f"{owner!r} is no name: use a-z, 0-9, '-' and '_', at most 63")
    return session.workspace.state_folder / OWNERS / f"{owner}.pem"


def _add(session: Session, manifest: Path, path: tuple[str, str], fields: dict[str, Toml]) -> None:
    from redoubt.trust.edit import add_table

    text = add_table(read_text(manifest), path, fields)
    write_file(manifest, text.encode(), replace=True)
    where = ".".join(path)
    session.output.result({"manifest": str(manifest), "added": where}, text=f"added {where} to {manifest}")
    _say_what_is_missing(session, manifest)


def _add_entry(session: Session, manifest: Path, room: str, fields: dict[str, Toml], *, text: str) -> None:
    from redoubt.trust.edit import add_entry

    write_file(manifest, add_entry(read_text(manifest), room, fields).encode(), replace=True)
    session.output.result({"manifest": str(manifest), "added": room.removesuffix("s")}, text=text)
    _say_what_is_missing(session, manifest)


def _say_what_is_missing(session: Session, manifest: Path) -> None:
    from redoubt.trust.manifest import draft_problems

    found = draft_problems(read_text(manifest).encode())
    for it in found[:_SHOWN]:
        session.output.say(f"not complete yet: {it}")


def _public_key(session: Session, owner: str, key: Path | None, public: str | None) -> str:
    from redoubt.trust.owner_key import create_owner_key, read_owner_key
    from redoubt.trust.public_key import public_key_text

    if public is not None:
        if key is not None:
            raise UsageError("name the key once: with --key or with --public-key")
        return public
    path = key if key is not None else owner_key_path(session, owner)
    made = not path.exists()
    private = create_owner_key(path) if made else read_owner_key(path)
    if made:
        session.output.say(f"made the signing key {path}; back it up, and keep it from others")
    return public_key_text(private.public_key().public_bytes_raw())


def read_text(manifest: Path) -> str:
    """Return a manifest as its author wrote it; raises NotFound or UsageError."""
    content = read_file(manifest, limit=MAX_MANIFEST_BYTES, make=MAKE_MANIFEST)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{manifest} is not UTF-8") from None


def _json_list(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(it, str) for it in found):
        raise UsageError(f"{text!r} is not a JSON list of texts", hint="""For example: '["--month", "2026-??"]'.""")
    return found


def _pairs(given: Sequence[str], option: str, *, typed: bool) -> dict[str, list[str | int | bool]]:
    found: dict[str, list[str | int | bool]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text!r} is not NAME=VALUE")
        found.setdefault(name, []).append(_value(value) if typed else value)
    return found


def _value(text: str) -> str | int | bool:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else text
