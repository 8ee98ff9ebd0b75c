"""``.redoubt/config.toml``: which key is the default, and which provider holds the keys of which namespace.

::

    format = 1
    default_key = "key:main/default.dev"

    [namespaces.main]
    provider = "local"          # every other field belongs to the provider; local takes: path

Pure: text in, :class:`Config` out, and text with one mapping changed. Unknown fields are errors, because a setting
that is silently ignored is a setting that its author believes to hold.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from redoubt.errors import KeyError_, WorkspaceError
from redoubt.keys.names import Assurance, KeyName
from redoubt.limits import MAX_CONFIG_BYTES

CONFIG_FORMAT: Final = 1
_WHAT = "config.toml"


@dataclass(frozen=True, slots=True)
class NamespaceMapping:
    """Where the keys of one namespace live: a provider's name, and its settings as sorted pairs."""

    provider: str
    settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, provider: str, **settings: str | None) -> NamespaceMapping:
        """Return a mapping with the settings that are not None."""
        return cls(provider, tuple(sorted((name, value) for name, value in settings.items() if value is not None)))


@dataclass(frozen=True, slots=True)
class Config:
    """The content of a ``config.toml``."""

    default_key: KeyName
    namespaces: Mapping[str, NamespaceMapping]

    def mapped(self, namespace: str, mapping: NamespaceMapping) -> Config:
        """Return this configuration with one namespace mapped anew."""
        return replace(self, namespaces={**self.namespaces, namespace: mapping})


def new_config(default_key: KeyName) -> bytes:
    """Return the file of a new workspace, which maps the default key's namespace to its own keystore."""
    return f"""\
# A Redoubt workspace. Keep this folder private and backed up: without it, sealed data cannot be read.
format = {CONFIG_FORMAT}
default_key = "{default_key}"

# Which provider holds the keys of a namespace. `redoubt keys map` edits this and keeps your comments.
[namespaces.{default_key.namespace}]
provider = "local"
""".encode()


def parse_config(content: bytes, *, providers: Mapping[str, frozenset[str]]) -> Config:
    """Parse a ``config.toml``; *providers* gives the known providers and the settings that each one takes.

    Raises:
        WorkspaceError: it is too large, not TOML, of an unknown format, or has a missing, unknown or malformed field.
    """
    if len(content) > MAX_CONFIG_BYTES:
        raise WorkspaceError(f"{_WHAT} is longer than {MAX_CONFIG_BYTES} bytes")
    try:
        tree = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WorkspaceError(f"{_WHAT} is not TOML: {error}") from None
    if type(tree.get("format")) is not int or tree["format"] != CONFIG_FORMAT:
        raise WorkspaceError(
            f"{_WHAT} has format {tree.get('format')!r}; this version of Redoubt knows {CONFIG_FORMAT}",
            hint="Update Redoubt; if it is current, restore the file from your backup.",
        )
    _refuse_unknown(tree, {"format", "default_key", "namespaces"}, where=_WHAT)
    namespaces = tree.get("namespaces")
    if not isinstance(namespaces, dict) or not namespaces:
        raise WorkspaceError(f"{_WHAT} maps no namespace")
    try:
        default_key = KeyName.parse(_text(tree, "default_key", where=_WHAT))
        for namespace in namespaces:
            check_namespace(namespace)
    except KeyError_ as error:
        raise WorkspaceError(f"{_WHAT}: {error.what}") from None
    return Config(default_key, {name: _mapping(name, table, providers) for name, table in namespaces.items()})


def edit_config(content: bytes, *, namespace: str, mapping: NamespaceMapping) -> bytes:
    """Return *content*, a valid ``config.toml``, with *namespace* mapped anew; comments and order stay."""
    import tomlkit  # reading needs only the standard library
    from tomlkit.items import InlineTable

    document = tomlkit.parse(content.decode("utf-8"))
    namespaces: Any = document["namespaces"]
    if namespace not in namespaces:
        inline = isinstance(namespaces, InlineTable)  # which cannot contain a table of the other kind
        namespaces[namespace] = tomlkit.inline_table() if inline else tomlkit.table()
    table = namespaces[namespace]
    wanted = {"provider": mapping.provider, **dict(mapping.settings)}
    for field in [field for field in table if field not in wanted]:
        del table[field]
    for field, value in wanted.items():
        if table.get(field) != value:
            table[field] = value
    return tomlkit.dumps(document).encode()


def check_namespace(namespace: str) -> None:
    """Check that *namespace* can stand in a key name; raises KeyError_."""
    KeyName(namespace, "x", Assurance.DEV)


def _mapping(namespace: str, table: object, providers: Mapping[str, frozenset[str]]) -> NamespaceMapping:
    where = f"{_WHAT}, [namespaces.{namespace}]"
    if not isinstance(table, dict):
        raise WorkspaceError(f"{where} is not a table")
    provider = _text(table, "provider", where=where)
    if provider not in providers:
        raise WorkspaceError(f"{where} names the unknown provider {provider!r}; known: {', '.join(sorted(providers))}")
    _refuse_unknown(table, {"provider", *providers[provider]}, where=where)
    return NamespaceMapping.of(
        provider, **{field: _text(table, field, where=where) for field in table if field != "provider"}
    )


def _text(table: Mapping[str, object], field: str, *, where: str) -> str:
    value = table.get(field)
    if not isinstance(value, str) or not value or "\0" in value:
        raise WorkspaceError(f"{where}: {field} is missing, empty or not a text")
    return value


def _refuse_unknown(table: Mapping[str, object], known: set[str], *, where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise WorkspaceError(f"{where} has the unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
