"""The report of Azure's Host Compatibility Layer (HCL): which hardware report vouches for the virtual TPM's key.

Source: Microsoft, "Azure confidential VM guest attestation" (learn.microsoft.com/azure/confidential-computing/
guest-attestation-confidential-virtual-machines-design): an attestation header (``HCLA``, 32 bytes), a hardware report
(1184 bytes: an SEV-SNP report, or a TDREPORT with zeros behind it), then runtime data: five little-endian words (size
of all that follows from the first word on, version, report type, hash type, size of the JSON) and JSON with the keys
``HCLAkPub`` and ``HCLEkPub``. What is behind the JSON must be zero.

Decides only the binding inside the report: SHA-256 of the JSON stands in the first half of the hardware report's
``report_data`` and zeros in the second. The hardware report itself is verified by :mod:`redoubt.evidence.azure`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from redoubt.errors import EvidenceMalformed, EvidenceUnbound
from redoubt.evidence.attestation_key import AttestationKey, rsa_key
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64url, parse_object, take_list, take_text
from redoubt.limits import MAX_HCL_REPORT_BYTES, REPORT_DATA_BYTES

_HEADER = struct.Struct("<4sIIII12s")
_RUNTIME = struct.Struct("<IIIII")
HARDWARE_REPORT_BYTES = 1184
#: Length of a TDREPORT_STRUCT (Intel TDX module specification); zeros fill the field behind it.
_TD_REPORT_BYTES = 1024
_VERSIONS = (1, 2)
_VM_REQUEST = 2
_SHA256 = 1


class HardwareReport(IntEnum):
    """What the hardware report is."""

    SNP = 2
    TDX = 4

    @property
    def report_data_offset(self) -> int:
        """Where ``report_data`` stands: in an SNP report, or in the REPORTMACSTRUCT of a TDREPORT."""
        return 0x50 if self is HardwareReport.SNP else 0x80


@dataclass(frozen=True, slots=True)
class HclReport:
    """A report whose runtime data is what its hardware report names; authentic only once that one is."""

    kind: HardwareReport
    hardware_report: bytes
    runtime_data: bytes
    key: AttestationKey
    runtime_claims: Mapping[str, JSON]

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that the hardware report carries."""
        start = self.kind.report_data_offset
        return self.hardware_report[start : start + REPORT_DATA_BYTES]


def parse_hcl_report(report: bytes) -> HclReport:
    """Return the HCL report that *report* is, its runtime data bound.

    Raises:
        EvidenceMalformed: it is not one, or says something unknown.
        EvidenceUnbound: its runtime data is not what its hardware report names.
    """
    if len(report) > MAX_HCL_REPORT_BYTES:
        raise EvidenceMalformed(f"the HCL report is longer than {MAX_HCL_REPORT_BYTES} bytes")
    fixed = _HEADER.size + HARDWARE_REPORT_BYTES
    if len(report) < fixed + _RUNTIME.size:
        raise EvidenceMalformed("the HCL report ends too early")
    magic, version, size, request, status, reserved = _HEADER.unpack_from(report)
    if magic != b"HCLA" or version not in _VERSIONS or request != _VM_REQUEST or status or any(reserved):
        raise EvidenceMalformed("the HCL report's header is not that of a known version")
    if not fixed + _RUNTIME.size <= size <= len(report) or any(report[size:]):
        raise EvidenceMalformed("the HCL report's length is not the one it names")
    runtime_size, runtime_version, kind_number, hash_type, json_size = _RUNTIME.unpack_from(report, fixed)
    if runtime_version != 1 or hash_type != _SHA256 or kind_number not in set(HardwareReport):
        raise EvidenceMalformed("the HCL report's runtime data is of an unknown version, kind or hash")
    if runtime_size != _RUNTIME.size + json_size or fixed + runtime_size != size:
        raise EvidenceMalformed("the HCL report's runtime data is not as long as it says")
    runtime_data = report[size - json_size : size]
    kind = HardwareReport(kind_number)
    hardware_report = report[_HEADER.size : fixed]
    if kind is HardwareReport.TDX and any(hardware_report[_TD_REPORT_BYTES:]):
        raise EvidenceMalformed("the HCL report has bytes behind its TDREPORT")
    start = kind.report_data_offset
    bound = hashlib.sha256(runtime_data).digest().ljust(REPORT_DATA_BYTES, b"\0")
    if not hmac.compare_digest(hardware_report[start : start + REPORT_DATA_BYTES], bound):
        raise EvidenceUnbound("the HCL report's runtime data, which names the TPM's key, is not bound to the hardware")
    claims = parse_object(runtime_data, what="the HCL report's runtime data", limit=MAX_HCL_REPORT_BYTES)
    return HclReport(kind, hardware_report, runtime_data, _attestation_key(claims), claims)


def _attestation_key(claims: Mapping[str, JSON]) -> AttestationKey:
    what = "the HCL report's runtime data"
    found = [
        it for it in take_list(claims, "keys", what=what) if isinstance(it, Mapping) and it.get("kid") == "HCLAkPub"
    ]
    if len(found) != 1:
        raise EvidenceMalformed(f"{what} holds {len(found)} keys HCLAkPub; it must hold one")
    (key,) = found
    if key.get("kty") != "RSA" or key.get("key_ops") != ["sign"]:
        raise EvidenceMalformed("HCLAkPub is not an RSA key that signs")
    modulus, exponent = (
        int.from_bytes(from_base64url(take_text(key, name, what="HCLAkPub"), what="HCLAkPub")) for name in ("n", "e")
    )
    return rsa_key(modulus=modulus, exponent=exponent)
