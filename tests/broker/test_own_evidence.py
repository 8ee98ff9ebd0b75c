"""The broker's own evidence: bound to its key and the caller's nonce, and refused when it is anybody else's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.broker.client import Client

from redoubt.broker.core import Settings
from redoubt.broker.location import SqliteLocation
from redoubt.broker.production import own_tee
from redoubt.broker.root import FileRoot
from redoubt.broker.server import Address, RunningBroker
from redoubt.broker.store import SqlStore
from redoubt.broker.verifiers import Collateral, production_verifiers
from redoubt.cli.main import main
from redoubt.errors import BrokerMessage, BrokerUntrusted
from redoubt.evidence.claims import Tee, Verified
from redoubt.evidence.collect.attester import Collected
from redoubt.keys.rootkey import create_root_key_file
from redoubt.limits import MAX_EVIDENCE_COLLECTIONS
from redoubt.pki.server import make_ca, make_server_certificate
from redoubt.protocol.broker_evidence import PATH, EvidenceAnswer, EvidenceRequest, verify_broker
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt_dev import DevelopmentKey, SimulatedAttester
from redoubt_dev.broker import simulated_verifiers

NONCE = bytes(range(32))
WARNING = "SIMULATED: proves nothing about hardware"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, DevelopmentKey]]:
    """A broker that believes itself on a simulated machine."""
    folder = tmp_path_factory.mktemp("broker")
    create_root_key_file(folder / "root.key")
    store = SqlStore.create(SqliteLocation(folder / "store.sqlite"), source=FileRoot(folder / "root.key"))
    ca = make_ca("test", now=datetime.now(UTC))
    (folder / "ca.pem").write_bytes(ca.certificate)
    with RunningBroker(
        store,
        address=Address("127.0.0.1", 0),
        identity=make_server_certificate(ca, name="test", hosts=["127.0.0.1"], now=datetime.now(UTC)),
        settings=Settings(),
        verifiers=production_verifiers(Collateral()),
        attester=SimulatedAttester(folder / "machine"),
    ) as running:
        machine = DevelopmentKey.load_or_create(folder / "machine")
        yield Client(running.port, ca.certificate, running.core.id), machine
    store.close()


def judge(machine: DevelopmentKey, answer: EvidenceAnswer, client: Client, **changes: object) -> Verified:
    table = simulated_verifiers(machine.key_set)
    values = {"broker_id": client.broker_id, "nonce": NONCE, "expected": {}, "verifiers": table}
    return verify_broker(answer, now=datetime.now(UTC), **{**values, **changes})  # type: ignore[arg-type]


def test_evidence_is_bound_to_the_brokers_key_and_the_nonce(broker: tuple[Client, DevelopmentKey]) -> None:
    client, machine = broker
    assert BrokerFacts.parse(client.call("GET", "/redoubt/v1/broker").ok).attested
    answer = EvidenceAnswer.parse(client.call("POST", PATH, EvidenceRequest(NONCE).encode()).ok)
    assert judge(machine, answer, client, expected={"simulated.warning": WARNING}).tee is Tee.SIMULATED
    for changes in (
        {"nonce": bytes(32)},
        {"broker_id": "ab" * 32},
        {"expected": {"simulated.warning": "none"}},
        {"expected": {"snp.measurement": "11" * 48}},
        {"verifiers": simulated_verifiers(DevelopmentKey.generate().key_set)},
        {"verifiers": production_verifiers(Collateral())},
    ):
        with pytest.raises(BrokerUntrusted):
            judge(machine, answer, client, **changes)
    relabelled = replace(answer, tee=Tee.SNP)
    with pytest.raises((BrokerUntrusted, BrokerMessage)):
        judge(machine, relabelled, client, verifiers=production_verifiers(Collateral()))


def test_owner_does_not_take_a_brokers_simulated_evidence(
    broker: tuple[Client, DevelopmentKey], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, _ = broker
    (tmp_path / "ca.pem").write_bytes(client.ca)
    url = f"https://127.0.0.1:{client.port}"
    assert main(["broker", "verify", url, "--ca", str(tmp_path / "ca.pem")]) == 3
    assert "broker.untrusted" in capsys.readouterr().err


def test_strangers_who_ask_for_evidence_hold_no_more_threads_than_a_few(
    broker: tuple[Client, DevelopmentKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each held one of the broker's threads for as long as the TEE takes."""
    client, _ = broker
    go_on, collect = threading.Event(), SimulatedAttester.collect
    entered = threading.Semaphore(0)

    def slowly(self: SimulatedAttester, report_data: bytes) -> Collected:
        entered.release()
        assert go_on.wait(10)
        return collect(self, report_data)

    monkeypatch.setattr(SimulatedAttester, "collect", slowly)
    ask = partial(client.call, "POST", PATH, EvidenceRequest(NONCE).encode())
    with ThreadPoolExecutor(MAX_EVIDENCE_COLLECTIONS) as strangers:
        waiting = [strangers.submit(ask) for _ in range(MAX_EVIDENCE_COLLECTIONS)]
        for _ in waiting:
            assert entered.acquire(timeout=10)
        refused = ask()
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "broker.rate_limited", "1")
        go_on.set()
        assert [it.result().status for it in waiting] == [200] * MAX_EVIDENCE_COLLECTIONS
    assert ask().status == 200


def test_this_machine_is_no_tee() -> None:
    assert own_tee() is None


@given(st.binary(max_size=80))
def test_other_bytes_are_no_message(garbage: bytes) -> None:
    for parse in (EvidenceRequest.parse, EvidenceAnswer.parse):
        with pytest.raises(BrokerMessage):
            parse(garbage)
    with pytest.raises(BrokerMessage):
        EvidenceRequest.parse(EvidenceRequest(b"short").encode())
