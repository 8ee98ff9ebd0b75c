"""TDX event logs: replay against a quote of our own Intel, and every way to cheat with a log."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from hashlib import sha384

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.vectors import entry

from redoubt.errors import EvidenceError, EvidenceMalformed, EvidenceUnbound, EvidenceUnprovable, LogMismatch
from redoubt.evidence import ccel
from redoubt.evidence.verify import verify_request
from redoubt.limits import MAX_EVENT_LOG_BYTES

ALGORITHM = (0x000C).to_bytes(2, "little")
Event = tuple[int, bytes]


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def header(algorithms: bytes = ALGORITHM + b"\x30\0", count: int = 1, vendor: bytes = b"\0") -> bytes:
    event = b"Spec ID Event03\0" + bytes(8) + number(count) + algorithms + vendor
    return number(1) + number(3) + bytes(20) + number(len(event)) + event


def event(register: int, digest: bytes, *, kind: int = 5, data: bytes = b"x", count: int = 1) -> bytes:
    return number(register + 1) + number(kind) + number(count) + ALGORITHM + digest + number(len(data)) + data


def extended(*digests: bytes) -> bytes:
    value = bytes(48)
    for digest in digests:
        value = sha384(value + digest).digest()
    return value


A, B = b"\xaa" * 48, b"\xbb" * 48
LOG = header() + event(0, A) + event(0, B) + event(2, A) + event(1, B, kind=3)
QUOTED = {0: extended(A, B), 1: bytes(48), 2: extended(A), 3: bytes(48)}


def test_replay() -> None:
    found = ccel.check_log(LOG, quoted=QUOTED)
    assert found.digests == ((A, B), (), (A,), ())
    assert found.events == 4
    claims = ccel.claims(found)
    assert claims["ccel.rtmr0"] == extended(A, B).hex()
    assert claims["ccel.rtmr0_extends"] == 2


@pytest.mark.parametrize("end", [b"\xff" * 64, bytes(64), b"\xff" * 3, b""])
def test_unused_end_of_the_table_is_cut_off(end: bytes) -> None:
    if len(end) == 3:
        with pytest.raises(EvidenceMalformed):
            ccel.replay(LOG + end)
    else:
        assert ccel.replay(LOG + end).canonical == LOG


@pytest.mark.parametrize(
    "log",
    [
        header() + event(0, B) + event(0, A) + event(2, A),  # reordered
        header() + event(0, A) + event(2, A),  # removed
        LOG + event(3, A),  # added
        LOG.replace(B, b"\xbc" * 48),  # changed
        header() + event(1, A) + event(0, B) + event(2, A),  # moved to another register
        header(),
    ],
)
def test_cheating_with_the_log_is_refused(log: bytes) -> None:
    with pytest.raises(LogMismatch):
        ccel.check_log(log, quoted=QUOTED)


def test_events_after_the_end_are_refused() -> None:
    with pytest.raises(EvidenceMalformed):
        ccel.replay(LOG + b"\xff" * 8 + event(3, A))


def test_log_compared_with_too_few_registers_is_refused() -> None:
    with pytest.raises(LogMismatch):
        ccel.check_log(LOG, quoted={0: QUOTED[0]})


@pytest.mark.parametrize(
    "log",
    [
        b"",
        header()[:-1],
        LOG[:-1],
        header(algorithms=b"\x0b\0\x20\0"),
        header(algorithms=b"", count=0),
        header(algorithms=ALGORITHM + b"\x20\0"),
        header(algorithms=2 * (ALGORITHM + b"\x30\0"), count=2),
        header(count=0xFFFFFFFF),
        header(vendor=b"\5"),
        header() + event(4, A),
        header() + event(0, A, count=2),
        header() + event(0, A).replace(ALGORITHM, b"\x0b\0", 1),
        header().replace(b"Event03", b"Event02"),
        header() + event(0, A)[:-5] + number(0xFFFFFFFF),
        bytes(MAX_EVENT_LOG_BYTES + 1),
    ],
)
def test_malformed_logs_are_refused(log: bytes) -> None:
    with pytest.raises(EvidenceMalformed):
        ccel.replay(log)


def test_too_many_events_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccel, "MAX_EVENTS", 3)
    with pytest.raises(EvidenceMalformed):
        ccel.replay(LOG)


@given(st.binary(max_size=400))
def test_any_bytes_raise_only_documented_errors(data: bytes) -> None:
    for log in (data, header() + data):
        with contextlib.suppress(EvidenceError):
            ccel.replay(log)


@given(st.data())
def test_mutated_logs_raise_only_documented_errors(data: st.DataObject) -> None:
    log = bytearray(LOG)
    at = data.draw(st.integers(0, len(log) - 1))
    log[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(EvidenceError):
        ccel.check_log(bytes(log), quoted=QUOTED)


# --- with its quote ---------------------------------------------------------------------------------------------------
def test_log_is_proved_by_a_whole_verification_where_collateral_is_given() -> None:
    request = entry("ccel-cos113").request()
    td = entry("tdx-v4-54334c81").request()
    verified = verify_request(replace(request, now=td.now, collateral=td.collateral))
    assert verified.claims["ccel.tcb_proved"] is True
    assert verified.claims["ccel.events"] == 43
    assert verified.claims["tdx.rtmr0"] == verified.claims["ccel.rtmr0"]
    assert verified.tcb_status == "OutOfDate"


def test_log_with_signatures_only_says_so() -> None:
    verified = verify_request(entry("ccel-cos113").request())
    assert verified.claims["ccel.tcb_proved"] is False
    assert verified.tcb_status is None


def test_log_without_a_quote_proves_nothing() -> None:
    with pytest.raises(EvidenceUnprovable):
        verify_request(replace(entry("ccel-cos113").request(), quotes=()))


def test_log_of_another_boot_is_refused() -> None:
    request = entry("ccel-cos113").request()
    with pytest.raises(LogMismatch):
        verify_request(replace(request, quotes=(entry("tdx-v4-c42f9164").request().evidence,)))


def test_log_is_bound_to_the_session_by_its_quote() -> None:
    with pytest.raises(EvidenceUnbound):
        verify_request(replace(entry("ccel-cos113").request(), report_data=b"\1"))
