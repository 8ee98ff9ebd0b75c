"""One of several brokers on one store, as a process: it takes simulated evidence, prints its port, and serves."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from redoubt.broker.core import Settings
from redoubt.broker.location import parse_location
from redoubt.broker.root import FileRoot
from redoubt.broker.server import Address, RunningBroker
from redoubt.broker.store import SqlStore
from redoubt.evidence.key_set import load_keys
from redoubt.pki.build import Certified
from redoubt.pki.server import make_server_certificate
from redoubt_dev.broker import NAME, simulated_verifiers


def main(location: str, folder: Path) -> None:
    ca = Certified((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes())
    store = SqlStore.open(parse_location(location), source=FileRoot(folder / "broker.key"))
    running = RunningBroker(
        store,
        address=Address("127.0.0.1", 0),
        identity=make_server_certificate(ca, name=NAME, hosts=("127.0.0.1",), now=datetime.now(UTC)),
        settings=Settings(name=NAME, development=True),
        verifiers=simulated_verifiers(load_keys((folder / "machine.pem").read_bytes())),
    )
    print(running.port, flush=True)
    running.serve()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
