"""The SEV-SNP attestation report, versions 2 to 5.

Source: AMD publication 56860, "SEV Secure Nested Paging Firmware ABI Specification" 1.58, tables 8 (guest policy),
22 to 24 (report) and 3 (TCB_VERSION). Reserved bytes and bits must be zero, so no byte of the 1184 is free to change.
Parsing proves nothing; :mod:`redoubt.evidence.snp` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import Final

from redoubt.errors import EvidenceMalformed, EvidenceUnprovable

REPORT_BYTES: Final = 1184
_SIGNED_BYTES: Final = 0x2A0
_ECDSA_P384_SHA384: Final = 1
#: r and s are 72 bytes each, little-endian; P-384 needs 48.
_SCALAR_BYTES: Final = 48
_SCALAR_FIELD_BYTES: Final = 72


class Product(StrEnum):
    """Product lines: each has its own root, certificates and layout of the TCB."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"


class Signer(Enum):
    """Which key signed the report, with the number that the report gives it."""

    VCEK = 0
    VLEK = 1


class _Version(IntEnum):
    # Version 4 of the report exists in no published specification.
    V2 = 2
    V3 = 3
    V5 = 5


#: (CPUID family, model) ranges of report versions from 3 on.
_MODELS: Final = (
    (Product.MILAN, 0x19, range(0x10)),
    (Product.GENOA, 0x19, range(0x10, 0x20)),
    (Product.GENOA, 0x19, range(0xA0, 0xB0)),
    (Product.TURIN, 0x1A, range(0x20)),
)
#: Components of a TCB_VERSION by offset; the other bytes are reserved.
TCB_LAYOUT: Final[Mapping[Product, Mapping[str, int]]] = {
    Product.MILAN: {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7},
    Product.GENOA: {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7},
    Product.TURIN: {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7},
}
#: name → (offset, length) of what becomes a claim as bytes.
_FIELDS: Final = {
    "family_id": (0x10, 16),
    "image_id": (0x20, 16),
    "current_tcb": (0x38, 8),
    "report_data": (0x50, 64),
    "measurement": (0x90, 48),
    "host_data": (0xC0, 32),
    "id_key_digest": (0xE0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "report_id_ma": (0x160, 32),
    "reported_tcb": (0x180, 8),
    "chip_id": (0x1A0, 64),
    "committed_tcb": (0x1E0, 8),
    "launch_tcb": (0x1F0, 8),
}
_V5_FIELDS: Final = {"launch_mitigations": (0x1F8, 8), "current_mitigations": (0x200, 8)}
_POLICY_KNOWN: Final = (1 << 26) - 1
_POLICY_ALWAYS_SET: Final = 1 << 17
#: Guest policy bits that become claims.
_POLICY_BITS: Final = {
    "smt": 16,
    "migrate_ma": 18,
    "debug": 19,
    "single_socket": 20,
    "cxl_allowed": 21,
    "mem_aes_256_xts": 22,
    "rapl_disabled": 23,
    "ciphertext_hiding": 24,
    "page_swap_disabled": 25,
}
_FLAGS_KNOWN: Final = 0x1F


@dataclass(frozen=True, slots=True)
class SnpReport:
    """A report whose fixed fields hold."""

    signed: bytes
    r: int
    s: int
    version: int
    guest_svn: int
    vmpl: int
    policy: int
    platform_info: int
    author_key: bool
    signer: Signer
    #: What the CPUID fields say; versions before 3 have none.
    product: Product | None
    fields: Mapping[str, bytes]

    @property
    def policy_bits(self) -> dict[str, bool]:
        """The bits of the guest policy, by name."""
        return {name: bool(self.policy >> bit & 1) for name, bit in _POLICY_BITS.items()}

    @property
    def policy_abi(self) -> tuple[int, int]:
        """The least major and minor version of the ABI that the guest policy asks for."""
        return self.policy >> 8 & 0xFF, self.policy & 0xFF


def parse_report(data: bytes) -> SnpReport:
    """Return the report in *data*. Raises EvidenceMalformed, or EvidenceUnprovable if the platform did not sign."""
    if len(data) != REPORT_BYTES:
        raise EvidenceMalformed(f"an SNP report has {REPORT_BYTES} bytes, not {len(data)}")
    version, policy, flags = _number(data, 0, 4), _number(data, 0x08, 8), _number(data, 0x48, 4)
    if version not in frozenset(_Version):
        raise EvidenceMalformed(f"SNP report version {version} is not known")
    if _number(data, 0x34, 4) != _ECDSA_P384_SHA384:
        raise EvidenceMalformed("the signature algorithm is not ECDSA P-384 with SHA-384")
    if policy & ~_POLICY_KNOWN or not policy & _POLICY_ALWAYS_SET:
        raise EvidenceMalformed(f"the guest policy {policy:#x} has reserved bits")
    if flags & ~_FLAGS_KNOWN:
        raise EvidenceMalformed(f"the key flags {flags:#x} have reserved bits")
    if flags & 2:
        raise EvidenceUnprovable("the platform masks its chip key: the report is not signed")
    signer = flags >> 2
    if signer not in (Signer.VCEK.value, Signer.VLEK.value):
        raise EvidenceUnprovable(f"the report was signed by no key that can be checked (signing key {signer})")
    for start, end in _reserved(version):
        if any(data[start:end]):
            raise EvidenceMalformed(f"reserved bytes {start:#x} to {end:#x} of the report are not zero")
    vmpl = _number(data, 0x30, 4)
    if vmpl not in (0, 1, 2, 3, 0xFFFFFFFF):  # the last: the host asked for the report
        raise EvidenceMalformed(f"VMPL {vmpl} does not exist")
    fields = _FIELDS | (_V5_FIELDS if version == _Version.V5 else {})
    s_at = _SIGNED_BYTES + _SCALAR_FIELD_BYTES
    return SnpReport(
        signed=data[:_SIGNED_BYTES],
        r=_number(data, _SIGNED_BYTES, _SCALAR_BYTES),
        s=_number(data, s_at, _SCALAR_BYTES),
        version=version,
        guest_svn=_number(data, 4, 4),
        vmpl=vmpl,
        policy=policy,
        platform_info=_number(data, 0x40, 8),
        author_key=bool(flags & 1),
        signer=Signer(signer),
        product=None if version == _Version.V2 else _product(data[0x188], data[0x189]),
        fields={name: data[at : at + size] for name, (at, size) in fields.items()},
    )


def _reserved(version: int) -> list[tuple[int, int]]:
    spans = [
        (0x4C, 0x50),
        (0x188 if version == _Version.V2 else 0x18B, 0x1A0),
        (0x1EB, 0x1EC),
        (0x1EF, 0x1F0),
        (0x208 if version == _Version.V5 else 0x1F8, _SIGNED_BYTES),
    ]
    for scalar in (_SIGNED_BYTES, _SIGNED_BYTES + _SCALAR_FIELD_BYTES):
        spans.append((scalar + _SCALAR_BYTES, scalar + _SCALAR_FIELD_BYTES))
    return [*spans, (_SIGNED_BYTES + 2 * _SCALAR_FIELD_BYTES, REPORT_BYTES)]


def _product(family: int, model: int) -> Product:
    for product, known_family, models in _MODELS:
        if family == known_family and model in models:
            return product
    raise EvidenceMalformed(f"CPUID family {family:#x} model {model:#x} is no SEV-SNP product known here")


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
