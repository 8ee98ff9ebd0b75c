"""The contract of :class:`redoubt.broker.ports.BrokerStore`: every store's tests subclass :class:`StoreContract`.

A subclass gives the fixture ``stores``: two stores open on the same data, as two brokers have them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.broker.ports import AttestSession, BrokerStore, ClosedJob, RegisteredHead
from redoubt.errors import (
    DatasetTaken,
    JobClosed,
    ManifestChain,
    ManifestRollback,
    NonceReplayed,
    ReceiptMissing,
    RedoubtError,
    RefusalMissing,
    RegisterConflict,
    RegisterRollback,
    ResourceMissing,
    SessionExpired,
    SessionUnknown,
    UsageError,
)
from redoubt.evidence.claims import JSON
from redoubt.limits import MAX_ANNOUNCED_HEADS, MAX_AUDIT_EVENT_BYTES, MAX_RECEIPT_BYTES, MAX_RESOURCE_BYTES
from redoubt.trust.audit_chain import START, ChainEnd
from redoubt.trust.audit_head import verify_log

NOW = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
Stores = tuple[BrokerStore, BrokerStore]


def session(expires: datetime = LATER) -> AttestSession:
    return AttestSession(id=uuid4(), nonce=os.urandom(32), tee="snp", expires=expires)


def head(number: int) -> RegisteredHead:
    return RegisteredHead(number=number, digest=f"sha256:{number:064x}")


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Run *calls* in threads that start together; return what each returned or raised."""
    results: list[object] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(place: int) -> None:
        barrier.wait()
        try:
            results[place] = calls[place]()
        except RedoubtError as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class StoreContract:
    """Subclass this and give the fixture ``stores``."""

    @pytest.fixture
    def stores(self) -> Stores:
        raise NotImplementedError

    @pytest.fixture
    def store(self, stores: Stores) -> BrokerStore:
        return stores[0]

    @pytest.fixture
    def other(self, stores: Stores) -> BrokerStore:
        return stores[1]

    # --- sessions -----------------------------------------------------------------------------------------------------
    def test_challenge_is_claimed_by_another_broker_and_its_result_seen_by_all(
        self, store: BrokerStore, other: BrokerStore
    ) -> None:
        challenge = session()
        store.sessions.open(challenge)
        assert other.sessions.claim(challenge.id, now=NOW) == challenge
        other.sessions.settle(challenge.id, b"token")
        assert store.sessions.token(challenge.id, now=NOW) == b"token"

    def test_replayed_nonce_is_refused(self, store: BrokerStore, other: BrokerStore) -> None:
        challenge = session()
        store.sessions.open(challenge)
        store.sessions.claim(challenge.id, now=NOW)
        for broker in (store, other):
            with pytest.raises(NonceReplayed):
                broker.sessions.claim(challenge.id, now=NOW)

    def test_of_many_answers_at_once_one_is_taken(self, store: BrokerStore, other: BrokerStore) -> None:
        challenge = session()
        store.sessions.open(challenge)
        calls = [lambda broker=broker: broker.sessions.claim(challenge.id, now=NOW) for broker in (store, other) * 4]
        results = at_once(*calls)
        assert sum(result == challenge for result in results) == 1
        assert sum(isinstance(result, NonceReplayed) for result in results) == 7

    def test_token_is_used_once_whoever_is_asked(self, store: BrokerStore, other: BrokerStore) -> None:
        token = uuid4()
        calls = [lambda broker=broker: broker.sessions.use_once(token, expires=LATER) for broker in (store, other) * 4]
        results = at_once(*calls)
        assert sum(result is None for result in results) == 1
        assert sum(isinstance(result, NonceReplayed) for result in results) == 7
        store.sessions.use_once(uuid4(), expires=LATER)

    def test_used_token_is_remembered_past_its_end(self, store: BrokerStore) -> None:
        token = uuid4()
        store.sessions.use_once(token, expires=NOW)
        store.sessions.use_once(uuid4(), expires=NOW + timedelta(minutes=5))
        with pytest.raises(NonceReplayed):
            store.sessions.use_once(token, expires=NOW)

    def test_unknown_session_is_refused(self, store: BrokerStore) -> None:
        for call in (
            lambda: store.sessions.claim(uuid4(), now=NOW),
            lambda: store.sessions.token(uuid4(), now=NOW),
            lambda: store.sessions.settle(uuid4(), b"token"),
        ):
            with pytest.raises(SessionUnknown):
                call()

    def test_session_over_is_refused_from_its_end_on(self, store: BrokerStore) -> None:
        challenge = session()
        store.sessions.open(challenge)
        for now in (challenge.expires, challenge.expires + timedelta(days=1)):
            with pytest.raises(SessionExpired):
                store.sessions.claim(challenge.id, now=now)
        store.sessions.claim(challenge.id, now=challenge.expires - timedelta(microseconds=1))
        store.sessions.settle(challenge.id, b"token")
        with pytest.raises(SessionExpired):
            store.sessions.token(challenge.id, now=challenge.expires)

    def test_result_is_settled_once_and_only_after_a_claim(self, store: BrokerStore) -> None:
        challenge = session()
        store.sessions.open(challenge)
        with pytest.raises(SessionUnknown):
            store.sessions.settle(challenge.id, b"unclaimed")
        store.sessions.claim(challenge.id, now=NOW)
        with pytest.raises(SessionUnknown):
            store.sessions.token(challenge.id, now=NOW)
        store.sessions.settle(challenge.id, b"first")
        with pytest.raises(SessionUnknown):
            store.sessions.settle(challenge.id, b"second")
        assert store.sessions.token(challenge.id, now=NOW) == b"first"

    def test_sessions_long_over_are_removed_when_new_ones_open(self, store: BrokerStore) -> None:
        old, recent = session(), session()
        for challenge in (old, recent):
            store.sessions.open(challenge)
        store.sessions.open(session(LATER + timedelta(minutes=30)))
        with pytest.raises(SessionExpired):
            store.sessions.claim(old.id, now=LATER)
        store.sessions.open(session(LATER + timedelta(hours=2)))
        with pytest.raises(SessionUnknown):
            store.sessions.claim(old.id, now=LATER)

    # --- manifests ----------------------------------------------------------------------------------------------------
    def test_manifests_stay_in_order(self, store: BrokerStore, other: BrokerStore) -> None:
        assert list(store.manifests.envelopes()) == []
        store.manifests.append(1, b"one")
        other.manifests.append(2, b"two")
        assert list(store.manifests.envelopes()) == [b"one", b"two"]

    def test_replaced_or_rolled_back_manifest_is_refused(self, store: BrokerStore, other: BrokerStore) -> None:
        store.manifests.append(1, b"one")
        store.manifests.append(2, b"two")
        for version in (0, 1, 2):
            with pytest.raises(ManifestRollback):
                other.manifests.append(version, b"other")
        assert list(store.manifests.envelopes()) == [b"one", b"two"]

    def test_manifest_that_leaves_a_gap_is_refused(self, store: BrokerStore) -> None:
        with pytest.raises(ManifestChain):
            store.manifests.append(2, b"two")

    def test_of_two_manifests_at_once_one_is_set(self, store: BrokerStore, other: BrokerStore) -> None:
        results = at_once(lambda: store.manifests.append(1, b"mine"), lambda: other.manifests.append(1, b"theirs"))
        assert sum(isinstance(result, ManifestRollback) for result in results) == 1
        winner = b"mine" if results[0] is None else b"theirs"
        assert list(store.manifests.envelopes()) == [winner]

    # --- resources ----------------------------------------------------------------------------------------------------
    def test_resource_is_stored_replaced_and_listed(self, store: BrokerStore, other: BrokerStore) -> None:
        assert list(store.resources.paths()) == []
        store.resources.put("b/secret/1", b"first")
        store.resources.put("B/secret/1", b"")
        other.resources.put("b/secret/1", b"second")
        assert store.resources.get("b/secret/1") == b"second"
        assert other.resources.get("B/secret/1") == b""
        assert list(store.resources.paths()) == ["B/secret/1", "b/secret/1"]

    def test_unknown_resource_is_refused(self, store: BrokerStore) -> None:
        with pytest.raises(ResourceMissing):
            store.resources.get("no/such/thing")

    def test_resources_put_at_once_leave_one_whole(self, store: BrokerStore, other: BrokerStore) -> None:
        contents = [os.urandom(5000) for _ in range(6)]
        brokers = (store, other) * 3
        results = at_once(*(lambda i=i: brokers[i].resources.put("a/b/c", contents[i]) for i in range(6)))
        assert results == [None] * 6
        assert store.resources.get("a/b/c") in contents

    def test_oversize_resource_is_refused(self, store: BrokerStore) -> None:
        with pytest.raises(UsageError):
            store.resources.put("a/b/c", bytes(MAX_RESOURCE_BYTES + 1))
        store.resources.put("a/b/c", bytes(MAX_RESOURCE_BYTES))

    # --- audit --------------------------------------------------------------------------------------------------------
    def test_audit_rows_form_one_chain(self, store: BrokerStore, other: BrokerStore) -> None:
        assert store.audit.head() is None
        first = store.audit.append({"decision": "released", "n": 1}, at=NOW)
        second = other.audit.append({"decision": "refused", "inner": {"ä": [True, None, 1.5]}}, at=LATER)
        assert (first.number, first.previous) == (1, START.digest)
        assert (second.number, second.previous) == (2, first.digest)
        assert list(store.audit.entries()) == [first, second]
        assert list(store.audit.entries(start=2)) == [second]
        assert list(store.audit.entries(start=1, limit=1)) == [first]
        assert list(store.audit.entries(start=3)) == []
        assert store.audit.head() == second
        assert verify_log(store.audit.entries(), head=None) == ChainEnd.of(second)

    def test_brokers_that_append_at_once_fork_nothing_and_lose_nothing(
        self, store: BrokerStore, other: BrokerStore
    ) -> None:
        def work(broker: BrokerStore, who: int) -> list[int]:
            return [broker.audit.append({"who": who, "n": n}, at=NOW).number for n in range(8)]

        results = at_once(*(lambda w=w: work((store, other)[w % 2], w) for w in range(4)))
        numbers = [number for result in results if isinstance(result, list) for number in result]
        assert sorted(numbers) == list(range(1, 33))
        assert verify_log(store.audit.entries(), head=None).number == 32

    def test_event_that_cannot_be_spelled_or_is_too_large_is_refused(self, store: BrokerStore) -> None:
        for event in ({"n": 2**60}, {"x": float("nan")}, {"s": "\ud800"}, {"long": "x" * MAX_AUDIT_EVENT_BYTES}):
            with pytest.raises(UsageError):
                store.audit.append(event, at=NOW)
        assert store.audit.head() is None

    def test_rows_of_a_job_are_found_in_pages(
        self, store: BrokerStore, other: BrokerStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("redoubt.broker.sql_audit.MAX_AUDIT_PAGE", 2)
        whose = ("job", "another", "job", None, "job", 7)
        made = [
            (store, other)[n % 2].audit.append({"n": n, **({} if it is None else {"holder": it})}, at=NOW)
            for n, it in enumerate(whose)
        ]
        assert list(store.audit.of_job("job")) == [made[0], made[2]]
        assert list(other.audit.of_job("job", start=made[2].number + 1)) == [made[4]]
        assert list(store.audit.of_job("job", start=made[4].number + 1)) == []
        assert list(store.audit.of_job("nobody")) == []

    def test_a_closed_job_is_given_nothing(self, store: BrokerStore, other: BrokerStore) -> None:
        given: dict[str, JSON] = {"event": "unwrap", "decision": "granted", "holder": "job"}
        store.audit.append(given, at=NOW)
        other.receipts.close("job", reported="one", at=NOW)
        with pytest.raises(JobClosed):
            store.audit.append(given, at=NOW)
        written = store.audit.of_job("job")[-1].event
        assert (written["decision"], written["code"]) == ("refused", JobClosed.code)
        store.audit.append({**given, "holder": "another"}, at=NOW)
        store.audit.append({**given, "event": "receipt"}, at=NOW)

    def test_what_is_given_while_a_job_is_closed_is_in_its_rows_or_refused(
        self, store: BrokerStore, other: BrokerStore
    ) -> None:
        given: dict[str, JSON] = {"event": "unwrap", "decision": "granted", "holder": "job"}

        def close() -> int:
            other.receipts.close("job", reported="one", at=NOW)
            return sum(it.event["decision"] == "granted" for it in other.audit.of_job("job"))

        calls = [lambda broker=broker: broker.audit.append(given, at=NOW) for broker in (store, other) * 4]
        (seen, *results) = at_once(close, *calls)
        assert seen == sum(not isinstance(it, JobClosed) for it in results)

    # --- receipts -----------------------------------------------------------------------------------------------------
    def test_a_job_is_closed_once_and_its_receipt_is_never_replaced(
        self, store: BrokerStore, other: BrokerStore
    ) -> None:
        assert not store.receipts.is_closed("job")
        assert store.receipts.close("job", reported="one", at=NOW) == ClosedJob(reported="one", receipt=None)
        assert other.receipts.close("job", reported="two", at=LATER) == ClosedJob(reported="one", receipt=None)
        assert store.receipts.is_closed("job")
        assert not store.receipts.is_closed("another")
        with pytest.raises(ReceiptMissing):
            other.receipts.get("job")
        assert other.receipts.fill("job", b"first") == b"first"
        assert store.receipts.fill("job", b"second") == b"first"
        assert store.receipts.get("job") == b"first"
        assert store.receipts.close("job", reported="one", at=NOW) == ClosedJob(reported="one", receipt=b"first")

    def test_receipt_of_a_job_that_was_not_closed_is_refused(self, store: BrokerStore) -> None:
        with pytest.raises(ReceiptMissing):
            store.receipts.fill("job", b"receipt")
        with pytest.raises(ReceiptMissing):
            store.receipts.get("job")
        with pytest.raises(UsageError):
            store.receipts.fill("job", bytes(MAX_RECEIPT_BYTES + 1))

    def test_of_two_brokers_that_close_and_fill_at_once_one_decides(
        self, store: BrokerStore, other: BrokerStore
    ) -> None:
        closed = at_once(
            *(
                lambda b=b, n=n: b.receipts.close("job", reported=str(n), at=NOW)
                for n, b in enumerate((store, other) * 2)
            )
        )
        assert len({it.reported for it in closed if isinstance(it, ClosedJob)}) == 1
        assert all(isinstance(it, ClosedJob) for it in closed)
        filled = at_once(
            *(lambda b=b, n=n: b.receipts.fill("job", bytes([n])) for n, b in enumerate((store, other) * 2))
        )
        assert set(filled) == {store.receipts.get("job")}

    # --- register -----------------------------------------------------------------------------------------------------
    def test_register_advances_by_compare_and_swap(self, store: BrokerStore, other: BrokerStore) -> None:
        dataset = uuid4()
        assert store.register.head(dataset) is None
        store.register.advance(dataset, previous=None, head=head(3))
        other.register.advance(dataset, previous=head(3), head=head(4))
        assert store.register.head(dataset) == head(4)
        assert store.register.head(uuid4()) is None

    def test_stale_writer_is_refused(self, store: BrokerStore) -> None:
        dataset = uuid4()
        with pytest.raises(RegisterConflict):
            store.register.advance(dataset, previous=head(1), head=head(2))
        store.register.advance(dataset, previous=None, head=head(1))
        other_digest = RegisteredHead(number=1, digest="sha256:" + "f" * 64)
        for previous in (None, other_digest, head(2)):
            with pytest.raises(RegisterConflict):
                store.register.advance(dataset, previous=previous, head=head(3))
        assert store.register.head(dataset) == head(1)

    def test_head_that_goes_back_is_refused(self, store: BrokerStore) -> None:
        dataset = uuid4()
        store.register.advance(dataset, previous=None, head=head(5))
        for number in (4, 5):
            with pytest.raises(RegisterRollback):
                store.register.advance(dataset, previous=head(5), head=head(number))

    def test_of_many_writers_at_once_one_advances(self, store: BrokerStore, other: BrokerStore) -> None:
        dataset = uuid4()

        def race(previous: RegisteredHead | None, base: int) -> RegisteredHead:
            calls = [
                lambda i=i: (store, other)[i % 2].register.advance(dataset, previous=previous, head=head(base + i))
                for i in range(4)
            ]
            results = at_once(*calls)
            assert sum(isinstance(result, RegisterConflict) for result in results) == 3
            return head(base + results.index(None))

        winner = race(None, 10)
        assert store.register.head(dataset) == winner
        assert race(winner, 20) == store.register.head(dataset)

    def test_announced_commits_last_until_one_is_registered(self, store: BrokerStore, other: BrokerStore) -> None:
        dataset = uuid4()
        again = RegisteredHead(number=2, digest="sha256:" + "f" * 64)
        assert store.register.announced(dataset) == frozenset()
        for _ in range(2):
            store.register.announce(dataset, head(2), at=NOW)
        other.register.announce(dataset, again, at=NOW)
        store.register.announce(dataset, head(3), at=NOW)
        store.register.announce(uuid4(), head(4), at=NOW)
        assert other.register.announced(dataset) == {head(2), again, head(3)}
        store.register.advance(dataset, previous=None, head=head(2))
        assert other.register.announced(dataset) == {head(3)}
        for late in (head(1), head(2), again):
            with pytest.raises(RegisterConflict):
                other.register.announce(dataset, late, at=NOW)

    def test_of_too_many_announced_commits_the_oldest_is_forgotten(self, store: BrokerStore) -> None:
        dataset = uuid4()
        for number in range(1, MAX_ANNOUNCED_HEADS + 3):
            store.register.announce(dataset, head(number), at=NOW + timedelta(seconds=number))
        kept = {it.number for it in store.register.announced(dataset)}
        assert kept == set(range(3, MAX_ANNOUNCED_HEADS + 3))

    # --- created datasets ---------------------------------------------------------------------------------------------
    def test_created_dataset_keeps_its_parent_and_check_values(self, store: BrokerStore, other: BrokerStore) -> None:
        dataset, parent, first, second = (uuid4() for _ in range(4))
        assert store.created.parent(dataset) is None
        store.created.add(dataset, parent=parent, data_key_id=first, check_value=b"1" * 32)
        other.created.add(dataset, parent=parent, data_key_id=second, check_value=b"2" * 32)
        assert other.created.parent(dataset) == parent
        assert store.created.check_value(dataset, second) == b"2" * 32
        assert other.created.check_value(dataset, uuid4()) is None
        assert other.created.check_value(uuid4(), first) is None

    def test_created_dataset_is_not_taken_over(self, store: BrokerStore, other: BrokerStore) -> None:
        dataset, parent, data_key = uuid4(), uuid4(), uuid4()
        store.created.add(dataset, parent=parent, data_key_id=data_key, check_value=b"1" * 32)
        with pytest.raises(DatasetTaken):
            other.created.add(dataset, parent=uuid4(), data_key_id=uuid4(), check_value=b"2" * 32)
        with pytest.raises(DatasetTaken):
            other.created.add(dataset, parent=parent, data_key_id=data_key, check_value=b"2" * 32)
        assert store.created.check_value(dataset, data_key) == b"1" * 32

    def test_registered_dataset_is_not_created(self, store: BrokerStore) -> None:
        dataset = uuid4()
        store.register.advance(dataset, previous=None, head=head(1))
        with pytest.raises(DatasetTaken):
            store.created.add(dataset, parent=uuid4(), data_key_id=uuid4(), check_value=b"1" * 32)
        assert store.created.parent(dataset) is None

    def test_of_many_creators_at_once_one_has_the_dataset(self, store: BrokerStore, other: BrokerStore) -> None:
        dataset, parents = uuid4(), [uuid4() for _ in range(4)]
        calls = [
            lambda i=i: (store, other)[i % 2].created.add(
                dataset, parent=parents[i], data_key_id=uuid4(), check_value=bytes([i]) * 32
            )
            for i in range(4)
        ]
        results = at_once(*calls)
        assert sum(isinstance(result, DatasetTaken) for result in results) == 3
        assert store.created.parent(dataset) == parents[results.index(None)]

    # --- refusals -----------------------------------------------------------------------------------------------------
    def test_refusal_is_kept(self, store: BrokerStore, other: BrokerStore) -> None:
        refusal = uuid4()
        store.refusals.put(refusal, b"record", at=NOW)
        assert other.refusals.get(refusal) == b"record"
        with pytest.raises(RefusalMissing):
            other.refusals.get(uuid4())

    def test_oldest_refusals_are_dropped(self, store: BrokerStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("redoubt.broker.sql_refusals.MAX_KEPT_REFUSALS", 3)
        ids: list[UUID] = [uuid4() for _ in range(5)]
        for refusal in ids:
            store.refusals.put(refusal, refusal.bytes, at=NOW)
        for refusal in ids[:2]:
            with pytest.raises(RefusalMissing):
                store.refusals.get(refusal)
        assert [store.refusals.get(refusal) for refusal in ids[2:]] == [refusal.bytes for refusal in ids[2:]]

    # --- the whole ----------------------------------------------------------------------------------------------------
    def test_brokers_share_one_signing_key_on_p384(self, store: BrokerStore, other: BrokerStore) -> None:
        assert isinstance(store.signing_key.curve, ec.SECP384R1)
        assert store.signing_key.private_numbers() == other.signing_key.private_numbers()

    def test_store_answers(self, store: BrokerStore) -> None:
        store.check()
