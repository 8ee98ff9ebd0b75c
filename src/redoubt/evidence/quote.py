"""The outer structure of Intel's DCAP quotes: where the signed bytes, the reports and the certificates lie.

Sources: Intel SGX ECDSA QuoteLibReference DCAP API (quote version 3) and Intel TDX DCAP Quoting Library API (versions 4
and 5). Parsing proves nothing: :mod:`redoubt.evidence.dcap` verifies exactly the bytes that were parsed here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from redoubt.errors import EvidenceMalformed, EvidenceUnprovable
from redoubt.limits import MAX_QUOTE_BYTES

_HEADER: Final = struct.Struct("<HHII16s20s")  # version, key type, TEE type, two SVNs or reserved, vendor, user data
_BODY_V5: Final = struct.Struct("<HI")
_CERTIFICATION: Final = struct.Struct("<HI")
_ECDSA_P256: Final = 2
#: After header and body: the length of the signature data, which begins with the signature over them.
SIGNATURE_LENGTH_BYTES: Final = 4
SIGNATURE_BYTES: Final = 64
_SIGNATURE_AND_KEY_BYTES: Final = SIGNATURE_BYTES + 64
_QE_REPORT_AND_SIGNATURE_BYTES: Final = 384 + 64
_QE_REPORT_CERTIFICATION: Final = 6
_PCK_CHAIN: Final = 5


class Body(IntEnum):
    """Kinds of report in a quote, with the numbers of the body types of version 5."""

    SGX = 1
    TD10 = 2
    TD15 = 3


_BODY_BYTES: Final = {Body.SGX: 384, Body.TD10: 584, Body.TD15: 648}
#: (version, TEE type) of the two versions that name no body type.
_BODIES: Final = {(3, 0x00): Body.SGX, (4, 0x81): Body.TD10}
_TEE_TYPES: Final = {Body.SGX: 0x00, Body.TD10: 0x81, Body.TD15: 0x81}


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote whose lengths agree."""

    version: int
    body_kind: Body
    body: bytes
    #: What the attestation key signed: header and body.
    signed: bytes
    #: The quote without what follows it: some providers pad, some leave bytes of their buffer. Those are never used.
    canonical: bytes
    #: Concatenated PEM: PCK certificate, its CA, the root.
    pck_chain: bytes


def parse_quote(data: bytes) -> Quote:
    """Return the quote in *data*. Raises EvidenceMalformed, or EvidenceUnprovable if it carries no PCK chain."""
    if len(data) > MAX_QUOTE_BYTES:
        raise EvidenceMalformed(f"the quote is larger than {MAX_QUOTE_BYTES} bytes")
    version, key_type, tee_type, _, _, _ = _HEADER.unpack(_take(data, 0, _HEADER.size))
    if key_type != _ECDSA_P256:
        raise EvidenceMalformed(f"attestation key type {key_type} is not ECDSA P-256")
    start = _HEADER.size
    if version == 5:
        number, size = _BODY_V5.unpack(_take(data, start, _BODY_V5.size))
        start += _BODY_V5.size
        kind = Body(number) if number in _TEE_TYPES and _TEE_TYPES[Body(number)] == tee_type else None
    else:
        kind = _BODIES.get((version, tee_type))
        size = _BODY_BYTES[kind] if kind else 0
    if kind is None or size != _BODY_BYTES[kind]:
        raise EvidenceMalformed(f"unknown quote: version {version}, TEE type {tee_type:#x}")
    body = _take(data, start, size)
    signed_end = start + size
    signature_start = signed_end + SIGNATURE_LENGTH_BYTES
    signature_bytes = int.from_bytes(_take(data, signed_end, SIGNATURE_LENGTH_BYTES), "little")
    signature = _take(data, signature_start, signature_bytes)
    end = signature_start + signature_bytes
    return Quote(version, kind, body, data[:signed_end], data[:end], _pck_chain(signature, nested=version > 3))


def _pck_chain(signature: bytes, *, nested: bool) -> bytes:
    """Return the PCK chain from the signature data; *nested* from version 4 on, where it lies in type 6."""
    at = _SIGNATURE_AND_KEY_BYTES
    if nested:
        kind, size = _CERTIFICATION.unpack(_take(signature, at, _CERTIFICATION.size))
        if kind != _QE_REPORT_CERTIFICATION:
            raise EvidenceUnprovable(f"certification data of type {kind} carries no QE report")
        signature, at = _take(signature, at + _CERTIFICATION.size, size), 0
    at += _QE_REPORT_AND_SIGNATURE_BYTES
    at += 2 + int.from_bytes(_take(signature, at, 2), "little")
    kind, size = _CERTIFICATION.unpack(_take(signature, at, _CERTIFICATION.size))
    if kind != _PCK_CHAIN:
        raise EvidenceUnprovable(f"certification data of type {kind} carries no PCK chain (type {_PCK_CHAIN} does)")
    return _take(signature, at + _CERTIFICATION.size, size)


def _take(data: bytes, start: int, length: int) -> bytes:
    if len(data) - start < length:
        raise EvidenceMalformed("the quote is shorter than its lengths say")
    return data[start : start + length]
