"""The TPM 2.0 structures that a quote is made of, parsed and nothing more.

Source: TCG "Trusted Platform Module Library, Part 2: Structures", revision 1.59: TPMS_ATTEST (10.12.12),
TPMS_CLOCK_INFO (10.11.1), TPMS_QUOTE_INFO (10.12.4), TPML_PCR_SELECTION (10.9.7), TPMT_SIGNATURE (11.3.4). All
integers are big-endian.

Decides whether bytes are one such structure, whole and without a rest. What they say is not authentic before
:mod:`redoubt.evidence.tpm_quote` has checked the signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from redoubt.errors import EvidenceMalformed
from redoubt.limits import (
    MAX_PCR_INDEX,
    MAX_PCR_SELECTIONS,
    MAX_TPM_ATTEST_BYTES,
    MAX_TPM_SIGNATURE_BYTES,
    MAX_TPM_SIZED_BYTES,
)

#: TPM_GENERATED_VALUE: a restricted key signs no foreign bytes that begin with it (Part 1, 31.5).
GENERATED_MAGIC = 0xFF544347
#: TPM_ST_ATTEST_QUOTE.
ATTEST_QUOTE = 0x8018


class HashAlgorithm(IntEnum):
    """TPM_ALG_ID of the digests that may protect evidence. SHA-1 is not among them."""

    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D

    @property
    def label(self) -> str:
        """The name in :mod:`hashlib` and in claims."""
        return self.name.lower()

    @property
    def size(self) -> int:
        """Bytes of a digest."""
        return {"SHA256": 32, "SHA384": 48, "SHA512": 64}[self.name]


class SignatureScheme(IntEnum):
    """TPM_ALG_ID of the signature schemes that an attestation key may use."""

    RSASSA = 0x0014
    RSAPSS = 0x0016
    ECDSA = 0x0018


@dataclass(frozen=True, slots=True)
class PcrSelection:
    """TPMS_PCR_SELECTION: the registers of one bank that the quote covers, in rising order."""

    bank: HashAlgorithm
    registers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Attest:
    """TPMS_ATTEST of type quote."""

    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    selections: tuple[PcrSelection, ...]
    pcr_digest: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """TPMT_SIGNATURE: an RSA signature in ``value``, or an ECDSA pair in ``r`` and ``s``."""

    scheme: SignatureScheme
    hash: HashAlgorithm
    value: bytes = b""
    r: int = 0
    s: int = 0


class _Cursor:
    """Reads a structure from its front; every length is checked before it is used."""

    def __init__(self, data: bytes, *, what: str, limit: int) -> None:
        if len(data) > limit:
            raise EvidenceMalformed(f"{what} is longer than {limit} bytes")
        self._rest = data
        self.what = what

    def take(self, count: int) -> bytes:
        if len(self._rest) < count:
            raise EvidenceMalformed(f"{self.what} ends too early")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def sized(self) -> bytes:
        """Read a TPM2B: two bytes of length, then that many."""
        size = self.number(2)
        if size > MAX_TPM_SIZED_BYTES:
            raise EvidenceMalformed(f"{self.what} holds a field of {size} bytes")
        return self.take(size)

    def hash_algorithm(self) -> HashAlgorithm:
        number = self.number(2)
        if number not in set(HashAlgorithm):
            raise EvidenceMalformed(f"{self.what} names the hash algorithm {number:#06x}, which is not accepted")
        return HashAlgorithm(number)

    def end(self) -> None:
        if self._rest:
            raise EvidenceMalformed(f"{self.what} has {len(self._rest)} bytes after its end")


def parse_attest(message: bytes) -> Attest:
    """Return the TPMS_ATTEST of type quote that *message* is.

    Raises:
        EvidenceMalformed: it is not one, or not exactly one.
    """
    cursor = _Cursor(message, what="the TPM quote", limit=MAX_TPM_ATTEST_BYTES)
    if cursor.number(4) != GENERATED_MAGIC:
        raise EvidenceMalformed("the TPM quote was not made by a TPM: it lacks TPM_GENERATED_VALUE")
    if (kind := cursor.number(2)) != ATTEST_QUOTE:
        raise EvidenceMalformed(f"the TPM statement is of type {kind:#06x}, not a quote")
    qualified_signer, extra_data = cursor.sized(), cursor.sized()
    clock, reset_count, restart_count = cursor.number(8), cursor.number(4), cursor.number(4)
    if (safe := cursor.number(1)) > 1:
        raise EvidenceMalformed(f"the TPM quote's `safe` is {safe}, not a TPMI_YES_NO")
    firmware_version = cursor.number(8)
    selections = _selections(cursor)
    pcr_digest = cursor.sized()
    cursor.end()
    return Attest(
        qualified_signer,
        extra_data,
        clock,
        reset_count,
        restart_count,
        bool(safe),
        firmware_version,
        selections,
        pcr_digest,
    )


def _selections(cursor: _Cursor) -> tuple[PcrSelection, ...]:
    count = cursor.number(4)
    if count > MAX_PCR_SELECTIONS:
        raise EvidenceMalformed(f"the TPM quote selects from {count} PCR banks")
    found = []
    for _ in range(count):
        bank = cursor.hash_algorithm()
        bitmap = cursor.take(cursor.number(1))
        registers = tuple(index for index in range(8 * len(bitmap)) if bitmap[index // 8] >> (index % 8) & 1)
        if registers and registers[-1] > MAX_PCR_INDEX:
            raise EvidenceMalformed(f"the TPM quote selects PCR {registers[-1]}, which no TPM has")
        found.append(PcrSelection(bank, registers))
    if len({it.bank for it in found}) != len(found):
        raise EvidenceMalformed("the TPM quote selects twice from one PCR bank")
    return tuple(found)


def parse_signature(blob: bytes) -> Signature:
    """Return the TPMT_SIGNATURE that *blob* is.

    Raises:
        EvidenceMalformed: it is not one, or uses a scheme or hash that is not accepted.
    """
    cursor = _Cursor(blob, what="the TPM signature", limit=MAX_TPM_SIGNATURE_BYTES)
    number = cursor.number(2)
    if number not in set(SignatureScheme):
        raise EvidenceMalformed(f"the TPM signature's scheme {number:#06x} is not accepted")
    scheme = SignatureScheme(number)
    digest = cursor.hash_algorithm()
    if scheme is SignatureScheme.ECDSA:
        signature = Signature(scheme, digest, r=int.from_bytes(cursor.sized()), s=int.from_bytes(cursor.sized()))
    else:
        signature = Signature(scheme, digest, value=cursor.sized())
    cursor.end()
    return signature
