"""Every public vector gets its verdict, and loses it with one changed bit or after its time."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.evidence.vectors import Entry, entries, entry, parameters, require_vectors

from redoubt.errors import EvidenceError, EvidenceExpired, LogMismatch, TokenError
from redoubt.evidence import ccel
from redoubt.evidence.kinds import Kind
from redoubt.evidence.quote import parse_quote
from redoubt.evidence.snp_report import REPORT_BYTES
from redoubt.evidence.verify import Request, verify_request

FLIPS = 200
_QUOTES = (Kind.SGX, Kind.TDX)
#: Where the manifest's words name a reason, the code that it must be.
_REASONS = {
    "Debug mode is enabled": "evidence.debug",
    "SEPT_VE_DISABLE is not enabled": "evidence.tcb",
    "No matching TCB level found": "evidence.tcb",
    "Invalid MR service TD": "evidence.tcb",
}


def test_the_manifest_is_the_whole_one() -> None:
    require_vectors()
    assert len(entries()) == 72


@pytest.mark.parametrize("vector", parameters())
def test_verdict(vector: Entry) -> None:
    """Verdict, TCB status and advisories are the manifest's, or it is refused for the manifest's reason."""
    if vector.accepted:
        verified = verify_request(vector.request())
        assert verified.tcb_status == vector.fields.get("tcb_status", verified.tcb_status)
        assert list(verified.advisories) == vector.fields.get("advisories", list(verified.advisories))
        assert verified.claims
        return
    with pytest.raises((EvidenceError, TokenError)) as refused:
        verify_request(vector.request())
    reason = vector.fields.get("reason", "")
    for words, code in _REASONS.items():
        if words in reason:
            assert refused.value.code == code


@pytest.mark.parametrize("vector", parameters(*_QUOTES, Kind.SNP, accepted=True))
def test_refused_after_its_time(vector: Entry) -> None:
    request = vector.request()
    until = verify_request(request).valid_until
    assert until is not None
    verify_request(replace(request, now=until - timedelta(seconds=1)))
    for later in (until, until + timedelta(days=400)):
        with pytest.raises(EvidenceExpired):
            verify_request(replace(request, now=later))


def signed_bytes(request: Request) -> list[int]:
    """Return the offsets of the signed bytes of the evidence and of its signatures, without lengths and types."""
    if request.kind is Kind.SNP:
        return list(range(REPORT_BYTES))
    quote = parse_quote(request.evidence)
    signature = len(quote.signed) + 4
    report = signature + 128 + (6 if quote.version > 3 else 0)
    auth = report + 448 + 2
    auth_end = auth + int.from_bytes(request.evidence[auth - 2 : auth], "little")
    spans = (
        range(len(quote.signed)),
        range(signature, signature + 128),
        range(report, auth - 2),
        range(auth, auth_end),
    )
    return [at for span in spans for at in span]


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def _refused(request: Request, bits: Iterator[int]) -> None:
    for bit in bits:
        with pytest.raises(EvidenceError):
            verify_request(replace(request, evidence=flipped(request.evidence, bit)))


@pytest.mark.parametrize("vector", parameters(*_QUOTES, Kind.SNP, accepted=True))
def test_random_changed_bits_are_refused(vector: Entry) -> None:
    request = vector.request()
    choose = random.Random(vector.id)
    bits = [8 * at + bit for at in signed_bytes(request) for bit in range(8)]
    _refused(request, iter(choose.sample(bits, FLIPS)))


@pytest.mark.parametrize("vector", parameters(*_QUOTES, accepted=True))
def test_changed_bits_of_the_certificates_are_refused(vector: Entry) -> None:
    """Of PCK and CA; the quote's copy of the root is used by nobody."""
    request = vector.request()
    chain = parse_quote(request.evidence).pck_chain
    parts = chain.split(b"-----BEGIN CERTIFICATE-----\n")
    choose = random.Random(vector.id)
    for part in parts[1:3]:
        encoded = part.partition(b"\n-----END")[0]
        der = base64.b64decode(encoded)
        for _ in range(20):
            changed = flipped(der, choose.randrange(8 * len(der)))
            lines = [changed[at : at + 48] for at in range(0, len(changed), 48)]
            again = b"\n".join(map(base64.b64encode, lines))
            assert len(again) == len(encoded)
            with pytest.raises(EvidenceError):
                verify_request(replace(request, evidence=request.evidence.replace(encoded, again)))


def test_changed_bits_of_an_event_log_that_are_digests_are_refused() -> None:
    request = entry("ccel-cos113").request()
    found = ccel.replay(request.evidence)
    choose = random.Random(1)
    for register in found.digests:
        for digest in choose.sample(register, min(20, len(register))):
            at = request.evidence.index(digest)
            changed = flipped(request.evidence, 8 * at + choose.randrange(8 * len(digest)))
            with pytest.raises(LogMismatch):
                verify_request(replace(request, evidence=changed))


def test_what_follows_a_quote_changes_neither_verdict_nor_digest() -> None:
    request = entry("sgx-v3-c81a90ee").request()
    padded = replace(request, evidence=request.evidence + bytes(100))
    assert verify_request(padded) == verify_request(request)
