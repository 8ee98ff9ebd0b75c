"""Where a broker's store is: an SQLite file, or a PostgreSQL database that several brokers share.

Decides which addresses are taken. A URL of a database holds no password: it would stand in configuration files, process
lists and error texts; libpq takes one from ``~/.pgpass`` or ``passfile``, or does without by client certificate. Over
a network TLS with the server's name verified is not left to choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from redoubt.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import URL

_SCHEME: Final = "postgresql"
#: What of libpq's parameters may stand in the URL; all else is ours or the environment's.
_PARAMETERS: Final = frozenset({"host", "port", "service", "passfile", "sslmode", "sslrootcert", "sslcert", "sslkey"})
_LOCAL_HOSTS: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
_VERIFIED: Final = "verify-full"


@dataclass(frozen=True, slots=True)
class SqliteLocation:
    """An SQLite file of one broker."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresLocation:
    """A PostgreSQL database."""

    url: URL

    def __str__(self) -> str:
        return self.url.set(drivername=_SCHEME).render_as_string(hide_password=True)


StoreLocation = SqliteLocation | PostgresLocation


def parse_location(text: str) -> StoreLocation:
    """Return the place that *text* names: a path, or ``postgresql://[user@]host[:port]/database[?parameters]``.

    Raises:
        UsageError: it is another kind of URL, holds a password, or would connect over a network without verified TLS.
    """
    if "://" not in text:
        if not text:
            raise UsageError("the place of the store is empty")
        return SqliteLocation(Path(text))
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # neither repeats the text: it may hold a password
        raise UsageError("the store's URL is malformed") from None
    if url.drivername != _SCHEME:
        raise UsageError(f"the store's URL is not one of {_SCHEME}://; an SQLite store is named by its path")
    if url.password is not None:
        raise UsageError(
            "the store's URL holds a password",
            hint="Put it into ~/.pgpass (0600) or name a passfile, not into the URL.",
        )
    return PostgresLocation(_checked(url))


def _checked(url: URL) -> URL:
    query = dict(url.query)
    if strange := sorted(set(query) - _PARAMETERS):
        raise UsageError(f"the store's URL has the parameter {strange[0]!r}, which is not one of Redoubt's")
    if not all(isinstance(value, str) for value in query.values()):
        raise UsageError("the store's URL gives a parameter twice")
    host = str(query.get("host", url.host or ""))
    local = host in _LOCAL_HOSTS or host.startswith("/")
    if local and "service" not in query:
        return url.set(drivername="postgresql+psycopg")
    if query.setdefault("sslmode", _VERIFIED) != _VERIFIED:
        raise UsageError(f"the store's URL asks for sslmode={query['sslmode']}; over a network it is {_VERIFIED}")
    return url.set(drivername="postgresql+psycopg", query=query)
