"""Manifests as files that people edit: a first draft, and tables added to it, with comments and order kept.

Pure: text in, text out. A draft may still lack parts (a first one has no datasets), so nothing here demands a whole
manifest; but an added table that is wrong by itself is refused at once, with the reader's own words.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from redoubt.errors import AlreadyExists, ManifestDangling, ManifestError, ManifestField, ManifestMalformed
from redoubt.trust.fields import Path, Problem
from redoubt.trust.manifest import draft_problems, read_toml

#: A line that begins a table or an entry of a list of tables.
_BEGINS: Final = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_-]+)\s*(?:\.[^\[\]]+)?\]\]?\s*(?:#.*)?")
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
    """Return *text* with the table *path* (``("owners", "alice")``) added; raises as :func:`add_tables`."""
    return add_tables(text, {path: fields})


def add_tables(text: str, tables: Mapping[tuple[str, str], Mapping[str, Toml]]) -> str:
    """Return *text* with the *tables* added, by their paths.

    Each call reads and checks the whole text: many tables are added in one.

    Raises:
        AlreadyExists: there is one of that name.
        ManifestError: the text is not TOML, or a table is wrong by itself.
    """
    expected = read_toml(text.encode())
    blocks: dict[str, list[str]] = {}
    for (room, name), fields in tables.items():
        group = expected.setdefault(room, {})
        if not isinstance(group, dict):
            raise ManifestField(f"{room}: is not a table")
        if name in group:
            raise AlreadyExists(f"{room}.{name} is in the manifest", hint="Edit it there, or choose another name.")
        group[name] = _plain(fields)
        blocks.setdefault(room, []).append(_block(room, name, fields))
    for room, added in blocks.items():
        text = _insert(text, room, "".join(added))
    return _checked(text, expected, tables)


def add_entry(text: str, room: str, fields: Mapping[str, Toml]) -> str:
    """Return *text* with an entry added to the list *room* (``grants`` or ``roles``); raises ManifestError."""
    import tomlkit

    expected = read_toml(text.encode())
    entries = expected.setdefault(room, [])
    if not isinstance(entries, list):
        raise ManifestField(f"{room}: is not a list")
    path = (room, f"[{len(entries)}]")
    entries.append(_plain(fields))
    array = tomlkit.aot()
    array.append(_table(fields))
    text = _insert(text, room, "\n" + tomlkit.dumps({room: array}))
    return _checked(text, expected, {path})


def follow(text: str, *, version: int, previous: str) -> str:
    """Return *text* as the successor of a manifest with the digest *previous*; raises ManifestError."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    read_toml(text.encode())  # tomlkit takes texts that are not TOML
    try:
        document = tomlkit.parse(text)
    except (TOMLKitError, RecursionError) as error:
        raise ManifestMalformed(f"the manifest is not TOML: {str(error)[:200]!r}") from None
    document["version"] = version
    document["previous"] = previous  # tomlkit puts a new field before the first table, where it belongs
    return tomlkit.dumps(document)


def _insert(text: str, room: str, block: str) -> str:
    """Return *text* with *block* behind the last table of *room*, or at its end if there is none."""
    if text and not text.endswith("\n"):
        text += "\n"
    lines = text.splitlines(keepends=True)
    inside, place = False, len(lines)
    for number, line in enumerate(lines, start=1):
        if header := _BEGINS.fullmatch(line.rstrip()):
            inside = header[1] == room
        if inside and line.strip() and not line.lstrip().startswith("#"):
            place = number  # comments behind it speak of what follows
    return "".join([*lines[:place], block, *lines[place:]])


def _block(room: str, name: str, fields: Mapping[str, Toml]) -> str:
    import tomlkit

    group = tomlkit.table(is_super_table=True)
    group.append(name, _table(fields))
    return "\n" + tomlkit.dumps({room: group}).rstrip("\n") + "\n"


def _plain(value: Toml) -> Any:
    """Return *value* as it is read back."""
    if isinstance(value, Mapping):
        return {name: _plain(it) for name, it in value.items()}
    return value if isinstance(value, str | int) else [_plain(it) for it in value]


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


def _checked(text: str, expected: Mapping[str, Any], added: Container[Path]) -> str:
    """Return *text* if it says what is *expected*, and nothing is wrong with what was *added* (paths of two parts)."""
    try:
        found = read_toml(text.encode())
    except ManifestMalformed:
        found = {}
    if found != expected:
        # Inline or dotted tables are closed, and brackets within a long text look like a table's beginning.
        raise ManifestMalformed(
            "nothing can be added to the manifest as it is written, or it would be too long",
            hint="Write each table below a line of its own, such as [programs.NAME], or add this one by hand.",
        )
    own = [it for it in draft_problems(text.encode()) if it.path[:2] in added and not _comes_later(it)]
    if own:
        error: type[ManifestError] = own[0].kind
        raise error("; ".join(map(str, own)))
    return text
