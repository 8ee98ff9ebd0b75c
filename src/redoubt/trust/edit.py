"""Manifests as files that people edit: a first draft, and tables added to it, with comments and order kept.

Pure: text in, text out. A draft may still lack parts (a first one has no datasets), so nothing here demands a whole
manifest; but an added table that is wrong by itself is refused at once, with the reader's own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from redoubt.errors import AlreadyExists, ManifestDangling, ManifestError, ManifestMalformed
from redoubt.limits import MAX_MANIFEST_BYTES
from redoubt.trust.fields import Problem
from redoubt.trust.manifest import draft_problems

Toml = str | int | bool | Sequence["Toml"] | Mapping[str, "Toml"]
_HEADER: Final = """\
# The owners' manifest: which programs may read or write which data, where, and how they must prove it.
# docs/manifest.md describes every field. Sign it with `redoubt manifest sign`, set it with `redoubt manifest set`.
format = 1
version = 1
least_binding = "agent"
"""


def new_draft(*, owner: str, key: str) -> str:
    """Return the draft of a first manifest, with one owner and nothing else."""
    return add_table(_HEADER, ("owners", owner), {"key": key})


def add_table(text: str, path: tuple[str, str], fields: Mapping[str, Toml]) -> str:
    """Return *text* with the table *path* (``("owners", "alice")``) added.

    Raises:
        AlreadyExists: there is one of that name.
        ManifestError: the text is not TOML, or the table is wrong by itself.
    """
    import tomlkit

    document = _parse(text)
    room, name = path
    if room not in document:
        document.append(room, tomlkit.table(is_super_table=True))
    tables: Any = document[room]
    if name in tables:
        raise AlreadyExists(f"{room}.{name} is in the manifest", hint="Edit it there, or choose another name.")
    tables.append(name, _table(fields))
    return _checked(tomlkit.dumps(document), path)


def add_entry(text: str, room: str, fields: Mapping[str, Toml]) -> str:
    """Return *text* with an entry added to the list *room* (``grants`` or ``roles``); raises ManifestError."""
    import tomlkit

    document = _parse(text)
    if room not in document:
        document.append(room, tomlkit.aot())
    entries: Any = document[room]
    place = len(entries)
    entries.append(_table(fields))
    return _checked(tomlkit.dumps(document), (room, f"[{place}]"))


def follow(text: str, *, version: int, previous: str) -> str:
    """Return *text* as the successor of a manifest with the digest *previous*; raises ManifestError."""
    import tomlkit

    document = _parse(text)
    document["version"] = version
    document["previous"] = previous  # tomlkit puts a new field before the first table, where it belongs
    return tomlkit.dumps(document)


def _parse(text: str) -> Any:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        draft_problems(text.encode())  # bounds, and whether it is TOML: tomlkit takes texts that are not
        return tomlkit.parse(text)
    except (TOMLKitError, RecursionError) as error:
        raise ManifestMalformed(f"the manifest is not TOML: {str(error)[:200]!r}") from None


def _table(fields: Mapping[str, Toml]) -> Any:
    import tomlkit

    table = tomlkit.table()
    for name, value in fields.items():
        if not isinstance(value, Mapping):
            table.append(name, tomlkit.item(value))
    table.add(tomlkit.nl())
    for name, value in fields.items():
        if isinstance(value, Mapping):
            table.append(name, _table(value))
    return table


def _comes_later(problem: Problem) -> bool:
    # An owner is added before the first dataset that is his.
    return problem.kind is ManifestDangling and problem.path[0] == "owners"


def _checked(text: str, path: tuple[str, ...]) -> str:
    if len(text.encode()) > MAX_MANIFEST_BYTES:
        raise ManifestMalformed(f"the manifest is longer than {MAX_MANIFEST_BYTES} bytes")
    own = [it for it in draft_problems(text.encode()) if it.path[: len(path)] == path and not _comes_later(it)]
    if own:
        error: type[ManifestError] = own[0].kind
        raise error("; ".join(map(str, own)))
    return text
