"""Every signed bit of every accepted public vector, flipped one at a time: refused, and by nothing but a refusal.

What counts as signed: the bytes under a signature, the signatures themselves, and what a signed digest covers (runtime
data of HCL reports, PCR values, digests of event logs). Lengths and types between them are not, nor is a quote's copy
of Intel's root, which nobody uses.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography import x509
from tests.evidence.test_vectors import flipped, signed_bytes
from tests.evidence.vectors import Entry, parameters

from redoubt.errors import EvidenceError, TokenError
from redoubt.evidence import ccel
from redoubt.evidence.azure_encoding import parse_azure
from redoubt.evidence.claims import Tee
from redoubt.evidence.kinds import Kind
from redoubt.evidence.verify import Request, verify_request

pytestmark = pytest.mark.soak

_TOKENS = (Kind.MAA, Kind.ITA, Kind.EAR)
_HCL = b"HCLA"
#: Within an HCL report: its header, the hardware report, the header of the runtime data, whose length is in the first.
_HCL_HEADER, _HCL_HARDWARE, _HCL_RUNTIME_HEADER, _HCL_RUNTIME = 32, 32, 1216, 1236
_SNP_SIGNED, _SNP_SIGNATURE = 0x2A0, 144
_TD_REPORT_DATA = range(_HCL_HARDWARE + 0x80, _HCL_HARDWARE + 0xC0)


@dataclass(frozen=True, slots=True)
class Signed:
    """Bytes of a request that are signed, and the request with others in their place."""

    name: str
    data: bytes
    places: Sequence[int]
    put: Callable[[bytes], Request]


def _parts(vector: Entry) -> Iterator[Signed]:
    request = vector.request()
    if request.kind in (Kind.SGX, Kind.TDX, Kind.SNP):
        yield _evidence(request, signed_bytes(request))
    elif request.kind in _TOKENS:
        yield _evidence(request, range(len(request.evidence.strip())))
    elif request.kind is Kind.CCEL:
        found = ccel.replay(request.evidence)
        starts = [request.evidence.index(digest) for register in found.digests for digest in register]
        yield _evidence(request, sorted({at + offset for at in starts for offset in range(48)}))
    elif request.kind is Kind.TPM:
        yield from _tpm(request)
    elif request.evidence.startswith(_HCL):
        yield _evidence(request, _hcl_places(request.evidence, snp=False))
        quote = replace(request, kind=Kind.TDX, evidence=request.quotes[0])
        yield Signed("quote", request.quotes[0], signed_bytes(quote), lambda data: replace(request, quotes=(data,)))
    else:
        yield from _azure(request)


def _evidence(request: Request, places: Sequence[int]) -> Signed:
    return Signed("evidence", request.evidence, places, lambda data: replace(request, evidence=data))


def _hcl_places(report: bytes, *, snp: bool) -> list[int]:
    end = int.from_bytes(report[8:12], "little")
    hardware = range(_HCL_HARDWARE, _HCL_HARDWARE + _SNP_SIGNED + _SNP_SIGNATURE) if snp else _TD_REPORT_DATA
    spans = (range(_HCL_HEADER), hardware, range(_HCL_RUNTIME_HEADER, _HCL_RUNTIME), range(_HCL_RUNTIME, end))
    return [at for span in spans for at in span]


def _azure(request: Request) -> Iterator[Signed]:
    """HCL report, TPM quote and proof, in whichever spelling this version of the JSON has."""
    snp = request.kind is Kind.AZ_SNP_VTPM
    parts = parse_azure(request.evidence, tee=Tee(request.kind))
    body = json.loads(request.evidence)
    plain = "version" not in body
    report, quote = ("report", "quote") if plain and snp else ("hcl_report", "tpm_quote")

    def put(path: tuple[str | int, ...]) -> Callable[[bytes], Request]:
        spell: Callable[[bytes], Any] = list if plain else bytes.hex if path[0] == quote else _base64url
        return lambda data: replace(request, evidence=_changed(body, path, spell(data)))

    def whole(name: str, data: bytes, *path: str | int) -> Signed:
        return Signed(name, data, range(len(data)), put(path))

    yield Signed("HCL report", parts.hcl_report, _hcl_places(parts.hcl_report, snp=snp), put((report,)))
    yield whole("message", parts.quote.message, quote, "message")
    yield whole("signature", parts.quote.signature.value, quote, "signature")
    for index, value in enumerate(parts.quote.pcrs):
        yield whole(f"PCR {index}", value, quote, "pcrs", index)
    if not snp:
        places = signed_bytes(replace(request, kind=Kind.TDX, evidence=parts.proof))
        yield Signed("quote", parts.proof, places, put(("td_quote",)))
    elif not parts.proof.startswith(b"-----"):
        signed = x509.load_der_x509_certificate(parts.proof).tbs_certificate_bytes
        start = parts.proof.index(signed)
        yield Signed("VCEK", parts.proof, range(start, start + len(signed)), put(("vcek",)))


def _tpm(request: Request) -> Iterator[Signed]:
    body = json.loads(request.evidence)
    quote = body["tpm_quote"]

    def whole(name: str, data: bytes, spell: Callable[[bytes], str], *path: str | int) -> Signed:
        steps = ("tpm_quote", *path)
        return Signed(
            name, data, range(len(data)), lambda new: replace(request, evidence=_changed(body, steps, spell(new)))
        )

    for name in ("message", "signature"):
        yield whole(name, base64.b64decode(quote[name]), lambda data: base64.b64encode(data).decode(), name)
    for index, value in enumerate(quote["pcrs"]):
        yield whole(f"PCR {index}", bytes.fromhex(value), bytes.hex, "pcrs", index)


def _changed(body: Any, path: Sequence[str | int], value: object) -> bytes:
    tree = json.loads(json.dumps(body))
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return json.dumps(tree).encode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize("vector", parameters(accepted=True))
def test_every_signed_bit(vector: Entry) -> None:
    verify_request(vector.request())
    bits = 0
    for part in _parts(vector):
        verify_request(part.put(part.data))  # or the spelling would be what is refused
        for place in part.places:
            for bit in range(8):
                changed = part.put(flipped(part.data, 8 * place + bit))
                with pytest.raises((EvidenceError, TokenError)):
                    verify_request(changed)
                bits += 1
    assert bits
    print(f"\n{vector.kind} {vector.id}: {bits} bits")
