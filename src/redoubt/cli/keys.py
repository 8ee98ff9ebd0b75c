"""``redoubt keys``: primary keys and the namespaces they live in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.output import Json
from redoubt.cli.session import Session, command, group
from redoubt.errors import UsageError

if TYPE_CHECKING:
    from redoubt.keys.names import KeyName
    from redoubt.keys.provider import KeyInfo, KeyState, Provider

app = group("Create, rotate, disable and destroy primary keys; map key namespaces to providers.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="default, lake/raw, key:main/default.dev …")]
VersionOption = Annotated[int | None, typer.Option("--version", metavar="N", min=1, help="Only this version.")]
_COLUMNS = ("KEY", "VERSION", "STATE", "CREATED", "WRAPS", "REFERENCES")


@command(app, example="redoubt keys create lake")
def create(session: Session, name: NameArgument) -> None:
    """Create a primary key."""
    key, provider = _find(session, name)
    _changed(session, provider.create(key), f"created {key}")


@command(app, name="list", example="redoubt keys list --json")
def list_(session: Session) -> None:
    """List the primary keys that this workspace reaches."""
    _table(session, {"default_key": str(session.workspace.config.default_key)}, session.workspace.list_keys())


@command(app, example="redoubt keys show default")
def show(session: Session, name: NameArgument) -> None:
    """Show one key with all its versions."""
    key, provider = _find(session, name)
    info = provider.describe(key)
    _table(session, _as_json(info), [info])


@command(app, example="redoubt keys rotate default")
def rotate(session: Session, name: NameArgument) -> None:
    """Add a version, which wraps from now on. Existing data stays readable; `redoubt rewrap` moves it over."""
    key, provider = _find(session, name)
    info = provider.rotate(key)
    _changed(session, info, f"{key} now wraps with version {info.current.version}")


@command(app, example="redoubt keys enable default --version 1")
def enable(session: Session, name: NameArgument, version: VersionOption = None) -> None:
    """Enable a key, or one version of it."""
    from redoubt.keys.provider import KeyState

    _set_state(session, name, KeyState.ENABLED, version)


@command(app, example="redoubt keys disable default --version 1")
def disable(session: Session, name: NameArgument, version: VersionOption = None) -> None:
    """Disable a key, or one version of it: it wraps and unwraps nothing until it is enabled."""
    from redoubt.keys.provider import KeyState

    _set_state(session, name, KeyState.DISABLED, version)


@command(app, example="redoubt keys destroy default --version 1 --yes")
def destroy(
    session: Session,
    name: NameArgument,
    *,
    version: Annotated[int, typer.Option("--version", metavar="N", min=1, help="The version to destroy.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really: this cannot be undone.")] = False,
    even_if_referenced: Annotated[
        bool, typer.Option("--even-if-referenced", help="Even if data becomes unreadable for ever.")
    ] = False,
) -> None:
    """Destroy one version of a key for ever.

    A version that still wraps data keys is refused: `redoubt keys references NAME` lists the datasets to re-wrap.
    """
    key, provider = _find(session, name)
    if not yes:
        raise UsageError(
            f"nothing was destroyed: {key} version {version} is destroyed for ever only with --yes",
            why="A destroyed version cannot be restored, and what it wraps can never be read again.",
            hint="Look at `redoubt keys references` first; run it again with --yes if you mean it.",
        )
    info = provider.destroy(key, version=version, even_if_referenced=even_if_referenced)
    _changed(session, info, f"destroyed {key} version {version}")


@command(app, example="redoubt keys references default --version 1")
def references(session: Session, name: NameArgument, version: VersionOption = None) -> None:
    """List what a key, or one version of it, still wraps: the datasets that need it."""
    key, provider = _find(session, name)
    contexts = provider.references(key, version=version)
    rows = [(str(it.dataset_id), str(it.data_key_id), str(it.purpose)) for it in contexts]
    fields = ("dataset_id", "data_key_id", "purpose")
    data: dict[str, Json] = {
        "name": str(key),
        "version": version,
        "references": [dict(zip(fields, row, strict=True)) for row in rows],
    }
    session.output.table(data, columns=("DATASET", "DATA KEY", "PURPOSE"), rows=rows)


@command(
    app,
    name="map",
    example="redoubt keys map lake vault --set url=https://vault:8200 --set token_file=token, or redoubt keys map lake"
    " broker --set url=https://broker:8443 --set ca=ca.pem --set owner_key=alice.pem",
)
def map_(
    session: Session,
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="The namespace, e.g. lake.")],
    provider: Annotated[
        str,
        typer.Argument(metavar="PROVIDER", help="local, pkcs11, vault, azure, ehsm or broker; see docs/providers.md."),
    ] = "local",
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the provider; may be repeated. Secrets only as files."
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="DIR", help="The workspace whose keystore or books to use (default: this)."),
    ] = None,
) -> None:
    """Map a key namespace to a provider. No data is rewritten: data names keys, never where they live."""
    session.workspace.map_namespace(namespace, provider, path, settings=_settings(settings or []))
    mapped = dict(session.workspace.config.namespaces[namespace].settings)
    place = mapped.get("url") or mapped.get("token") or mapped.get("path") or session.workspace.folder.absolute()
    session.output.result(
        {"namespace": namespace, "provider": provider, **mapped}, text=f"mapped {namespace} to {provider}, {place}"
    )


def _settings(texts: Sequence[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name or name in settings:
            raise UsageError(f"--set {name!r} is not NAME=VALUE, or is given twice")
        settings[name] = value
    return settings


def _find(session: Session, text: str) -> tuple[KeyName, Provider]:
    key = session.workspace.resolve(text)
    return key, session.workspace.provider_for(key)


def _set_state(session: Session, name: str, state: KeyState, version: int | None) -> None:
    key, provider = _find(session, name)
    info = provider.set_state(key, state, version=version)
    _changed(session, info, f"{state} {key}" + ("" if version is None else f" version {version}"))


def _changed(session: Session, info: KeyInfo, text: str) -> None:
    session.output.result(_as_json(info), text=text)


def _table(session: Session, data: dict[str, Json], keys: Sequence[KeyInfo]) -> None:
    rows = [
        (info.name, it.version, it.state, _time(it.created), it.wraps, it.references)
        for info in keys
        for it in info.versions
    ]
    if "versions" not in data:
        data = {**data, "keys": [_as_json(info) for info in keys]}
    session.output.table(data, columns=_COLUMNS, rows=rows)


def _as_json(info: KeyInfo) -> dict[str, Json]:
    return {
        "name": str(info.name),
        "versions": [
            {
                "version": it.version,
                "state": str(it.state),
                "created": _time(it.created),
                "wraps": it.wraps,
                "references": it.references,
            }
            for it in info.versions
        ],
    }


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
