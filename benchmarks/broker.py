"""Releasing keys and attesting, against a handler of the same server that does nothing, at 1, 8 and 64 connections.

The broker (the development broker, whose audit log and sessions lie in SQLite) is a process of its own; the clients are
threads of this one. Both share the machine, and RCAR includes what the attester does: signing its evidence. So only the
ratios speak of the broker, and they speak against it.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.broker.client import Client, SimulatedMachine
from tests.broker.world import INPUT, PROGRAM, World, envelope

from benchmarks.measure import Result
from redoubt.keys.types import Purpose, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.protocol.endpoint import UnwrapRequest
from redoubt.protocol.jwe import decrypt
from redoubt.protocol.key_api import UnwrapAnswer
from redoubt.trust.store import ManifestStore
from redoubt_dev import DevelopmentBroker, DevelopmentKey

CONNECTIONS = (1, 8, 64)
#: Length of one run, and rounds for one that was asked for.
SECONDS, ROUNDS = 1.0, 2
NOTHING, UNWRAP, RCAR = "GET /healthz, which does nothing", "unwrap of one data key", "RCAR: challenge and attestation"
RELEASE = "connect, attest, unwrap, decrypt"


class KeptClient(Client):
    """A client that keeps its connection."""

    _kept: http.client.HTTPSConnection | None = None

    def connected(self) -> AbstractContextManager[http.client.HTTPSConnection]:
        self._kept = self._kept or self.connection()
        return nullcontext(self._kept)

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


@dataclass(frozen=True, slots=True)
class Served:
    """A broker that runs, and what its clients need."""

    port: int
    ca: bytes
    id: str
    machine: DevelopmentKey
    record: WrappedKey

    def attester(self) -> SimulatedMachine:
        """Return an attester with a connection of its own."""
        return SimulatedMachine(KeptClient(self.port, self.ca, self.id), self.machine, PROGRAM)


def run(folder: Path, *, rounds: int) -> list[Result]:
    """Return, for each number of connections, time a request and 99th percentile; and a whole release."""
    with served(folder) as broker:
        throughput = {count: _empty(NOTHING, UNWRAP, RCAR) for count in CONNECTIONS}
        slowest = {count: _empty(NOTHING, UNWRAP, RCAR) for count in CONNECTIONS}
        release = _empty(NOTHING, RELEASE)
        for number in range(1 + rounds * ROUNDS):
            for count in CONNECTIONS:
                for case in _order((NOTHING, UNWRAP, RCAR), number):
                    took, seconds = _load(broker, case, count)
                    if number > 0:
                        throughput[count][case].append(took / len(seconds))
                        slowest[count][case].append(_percentile(seconds, 99))
                    print(
                        f"broker: round {number}, {count} connections, {case}: {len(seconds) / took:.0f}/s", flush=True
                    )
            for case in _order((NOTHING, RELEASE), number):
                p50 = _percentile([_once(broker, case) for _ in range(20)], 50)
                if number > 0:
                    release[case].append(p50)
    results = [Result("Broker: connection, attestation and release, p50", NOTHING, release)]
    for count in CONNECTIONS:
        name = "1 connection" if count == 1 else f"{count} connections"
        results.append(
            Result(f"Broker, {name}: time for each (its inverse is the throughput)", NOTHING, throughput[count])
        )
        results.append(Result(f"Broker, {name}: 99th percentile", NOTHING, slowest[count]))
    return results


def _empty(*cases: str) -> dict[str, list[float]]:
    return {case: [] for case in cases}


def _order(cases: tuple[str, ...], number: int) -> tuple[str, ...]:
    return cases if number % 2 == 0 else cases[::-1]


def _percentile(seconds: list[float], percent: int) -> float:
    return sorted(seconds)[(len(seconds) * percent - 1) // 100]


def _load(broker: Served, case: str, connections: int) -> tuple[float, list[float]]:
    """Return how long *connections* clients ran, and the seconds of each of their requests."""
    seconds: list[list[float]] = [[] for _ in range(connections)]
    failures: list[BaseException] = []
    ready, end = threading.Barrier(connections + 1), threading.Event()

    def client(found: list[float]) -> None:
        attester = broker.attester()
        try:
            request = _request(broker, case, attester)
            request()
            ready.wait(60)
            while not end.is_set():
                start = time.perf_counter()
                request()
                found.append(time.perf_counter() - start)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that measures
            failures.append(error)
            ready.abort()
        finally:
            _close(attester)

    threads = [threading.Thread(target=client, args=(found,)) for found in seconds]
    for thread in threads:
        thread.start()
    try:
        ready.wait(60)
    except threading.BrokenBarrierError:
        raise failures[0] from None
    start = time.perf_counter()
    time.sleep(SECONDS)
    end.set()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    if failures:
        raise failures[0]
    return took, [each for found in seconds for each in found]


def _request(broker: Served, case: str, attester: SimulatedMachine) -> Callable[[], object]:
    if case == NOTHING:
        return lambda: attester.client.call("GET", "/healthz").ok
    if case == RCAR:
        return attester.attest
    token, body = attester.attest(), _unwrap(broker).encode()
    return lambda: attester.client.call("POST", "/redoubt/v1/unwrap", body, bearer=token).ok


def _once(broker: Served, case: str) -> float:
    """Return the seconds of *case* from a new connection on."""
    attester, request = broker.attester(), _unwrap(broker)
    start = time.perf_counter()
    if case == NOTHING:
        attester.client.call("GET", "/healthz")
    else:
        token = attester.attest()
        answer = attester.client.call("POST", "/redoubt/v1/unwrap", request.encode(), bearer=token)
        UnwrapAnswer.parse(decrypt(answer.ok, attester.key), request)
    took = time.perf_counter() - start
    _close(attester)
    return took


def _close(attester: SimulatedMachine) -> None:
    if isinstance(attester.client, KeptClient):
        attester.client.close()


def _unwrap(broker: Served) -> UnwrapRequest:
    return UnwrapRequest(INPUT, Purpose.DATA, (broker.record,))


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Run a broker with an empty workspace in *folder*, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.broker", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        yield Served(
            port=facts["port"],
            ca=facts["ca"].encode(),
            id=facts["id"],
            machine=DevelopmentKey.load_or_create(folder / "machine"),
            record=WrappedKey.decode(bytes.fromhex(facts["record"])),
        )
    finally:
        process.communicate(timeout=60)  # closes its input, at whose end it ends


def _serve(folder: Path) -> None:
    machine = DevelopmentKey.load_or_create(folder / "machine")
    workspace = Workspace.init(folder / "workspace")
    ManifestStore(workspace.state_folder).put(envelope())
    with DevelopmentBroker(workspace, attesters=machine.key_set) as broker:
        _, record = World(workspace, broker, machine).sealed_key(INPUT)
        facts = {"port": broker.port, "ca": broker.ca_pem.decode(), "id": broker.id, "record": record.encode().hex()}
        print(json.dumps(facts), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
