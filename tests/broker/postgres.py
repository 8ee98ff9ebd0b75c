"""A real PostgreSQL server for tests, on a unix socket in a folder of its own; it ends with the fixture that began it.

The server refuses to run as root, so root's tests run it as the user that the Debian package made.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from redoubt.broker.location import PostgresLocation, parse_location

_ACCOUNT = "postgres"
_START_SECONDS = 30.0


def missing() -> str | None:
    """Return why no server can be started here, or None."""
    if _binaries() is None:
        return "PostgreSQL is not installed (packages.txt: postgresql)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_ACCOUNT)
        except KeyError:
            return "tests run as root, and there is no user postgres to run the server"
    return None


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@dataclass
class Server:
    """A running server."""

    folder: Path
    user: str
    made: str = ""

    def location(self, database: str) -> PostgresLocation:
        place = parse_location(self.url(database))
        assert isinstance(place, PostgresLocation)
        return place

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}@/{database}?host={self.folder}"

    def new_database(self, name: str) -> str:
        """Make an empty database and return its name."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return name

    def emptied_database(self) -> str:
        """Return the name of a database that nobody uses and that holds nothing; making one a test takes too long."""
        if not self.made:
            self.made = self.new_database("redoubt")
        self.break_connections(self.made)
        with self.connect(self.made) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self.made

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(f"host={self.folder} user={self.user} dbname={database}", autocommit=True)

    def break_connections(self, database: str) -> None:
        """End every connection to *database*, as a restart of the server does."""
        with self.connect("postgres") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                (database,),
            )


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server and stop it at the end."""
    binaries = _binaries()
    assert binaries is not None
    folder = Path(tempfile.mkdtemp(prefix="redoubt-pg-"))
    as_user: dict[str, str] = {}
    user = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        user = _ACCOUNT
        as_user = {"user": _ACCOUNT, "group": _ACCOUNT}
        shutil.chown(folder, _ACCOUNT, _ACCOUNT)
    data = folder / "data"
    process = None
    try:
        subprocess.run(
            [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", user, "--no-sync", "-E", "UTF8",
             "--locale=C"],
            check=True, capture_output=True, cwd=folder, **as_user,  # type: ignore[call-overload]
        )  # fmt: skip
        process = subprocess.Popen(
            # Without fsync: the tests kill brokers, not the machine, and what a server has is safe from that.
            [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses=",
             "-c", "fsync=off", "-c", "max_connections=100", "-c", "shared_buffers=16MB"],
            stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"), cwd=folder, **as_user,  # type: ignore[call-overload]
        )  # fmt: skip
        server = Server(folder, user)
        _wait(server, process)
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.connect("postgres").close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError((server.folder / "log").read_text()) from None
            time.sleep(0.05)
