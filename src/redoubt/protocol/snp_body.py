"""The JSON in which SNP guests send their report: the structure of virtee's ``sev`` crate, as serde writes it.

Source: ``AttestationReport`` and ``CertTableEntry`` of sev 6 and 7, which guest-components and Trustee use. Byte
strings are lists of numbers, versions objects, and what a report's version does not have is null. Earlier crates wrote
reserved fields too; those clients are refused with the name of the first field that differs.

Decides only where in the 1184 bytes each field lies. The signature is over those bytes, so a body that was put
together wrongly proves nothing; :mod:`redoubt.evidence.snp` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID

from redoubt.errors import EvidenceMalformed
from redoubt.evidence.claims import JSON
from redoubt.evidence.snp_report import REPORT_BYTES, TCB_LAYOUT, Product, parse_report
from redoubt.evidence.strict_json import check_names, from_numbers, take_list, take_object
from redoubt.limits import MAX_CERTIFICATE_BYTES, MAX_SNP_CERTIFICATES

_WHAT: Final = "the SNP evidence"
_REPORT: Final = "the SNP report"
#: name → (offset, bytes) of little-endian numbers.
_NUMBERS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "version": (0x00, 4),
        "guest_svn": (0x04, 4),
        "policy": (0x08, 8),
        "vmpl": (0x30, 4),
        "sig_algo": (0x34, 4),
        "plat_info": (0x40, 8),
        "key_info": (0x48, 4),
    }
)
_BYTES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "family_id": (0x10, 16),
        "image_id": (0x20, 16),
        "report_data": (0x50, 64),
        "measurement": (0x90, 48),
        "host_data": (0xC0, 32),
        "id_key_digest": (0xE0, 48),
        "author_key_digest": (0x110, 48),
        "report_id": (0x140, 32),
        "report_id_ma": (0x160, 32),
        "chip_id": (0x1A0, 64),
    }
)
_TCBS: Final[Mapping[str, int]] = MappingProxyType(
    {"current_tcb": 0x38, "reported_tcb": 0x180, "committed_tcb": 0x1E0, "launch_tcb": 0x1F0}
)
#: Each is build, minor, major.
_VERSIONS: Final[Mapping[str, int]] = MappingProxyType({"current": 0x1E8, "committed": 0x1EC})
_CPUID: Final[Mapping[str, int]] = MappingProxyType({"cpuid_fam_id": 0x188, "cpuid_mod_id": 0x189, "cpuid_step": 0x18A})
_MITIGATIONS: Final[Mapping[str, int]] = MappingProxyType({"launch_mit_vector": 0x1F8, "current_mit_vector": 0x200})
_SIGNATURE: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({"r": (0x2A0, 72), "s": (0x2E8, 72)})
_REQUIRED: Final = (*_NUMBERS, *_BYTES, *_TCBS, *_VERSIONS, "signature")
#: serde's names of certificate kinds → the GUIDs of the GHCB specification, 4.1.8.1.
CERTIFICATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ARK": "c0b406a4-a803-4952-9743-3fb6014cd0ae",
        "ASK": "4ab7b379-bbac-4fe4-a02f-05aef327c782",
        "VCEK": "63da758d-e664-4564-adc5-f4b93be8accd",
        "VLEK": "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
    }
)


def encode_report(report: bytes) -> JSON:
    """Return the structure of *report* (1184 bytes); raises EvidenceError."""
    parsed = parse_report(report)
    chip = parsed.fields["chip_id"]
    turin = parsed.product is Product.TURIN or (parsed.product is None and not any(chip[8:]))
    layout = TCB_LAYOUT[Product.TURIN if turin else Product.MILAN]
    body: dict[str, JSON] = {name: _number(report, *at) for name, at in _NUMBERS.items()}
    body |= {name: _numbers(report, *at) for name, at in _BYTES.items()}
    for name, at in _TCBS.items():
        body[name] = {"fmc": None, **{part: report[at + offset] for part, offset in layout.items()}}
    for name, at in _VERSIONS.items():
        body[name] = {"major": report[at + 2], "minor": report[at + 1], "build": report[at]}
    body |= {name: None if parsed.version == 2 else report[at] for name, at in _CPUID.items()}
    body |= {name: None if parsed.version < 5 else _number(report, at, 8) for name, at in _MITIGATIONS.items()}
    body["signature"] = {name: _numbers(report, *at) for name, at in _SIGNATURE.items()}
    return body


def decode_report(value: JSON) -> bytes:
    """Return the 1184 bytes of the report that *value* describes; raises EvidenceMalformed."""
    if not isinstance(value, Mapping):
        raise EvidenceMalformed(f"{_REPORT} is no object")
    body = {**dict.fromkeys((*_CPUID, *_MITIGATIONS)), **value}
    check_names(body, (*_REQUIRED, *_CPUID, *_MITIGATIONS), what=_REPORT)
    report = bytearray(REPORT_BYTES)
    for name, (at, size) in _NUMBERS.items():
        _put(report, at, size, body[name], name)
    for name, (at, size) in _BYTES.items():
        _put_bytes(report, at, size, body[name], name)
    for name, at in _TCBS.items():
        tcb = {"fmc": None, **take_object(body, name, what=_REPORT)}
        layout = TCB_LAYOUT[Product.MILAN if tcb["fmc"] is None else Product.TURIN]
        check_names(tcb, {"fmc", *layout}, what=name)
        for part, offset in layout.items():
            _put(report, at + offset, 1, tcb[part], name)
    for name, at in _VERSIONS.items():
        version = take_object(body, name, what=_REPORT)
        check_names(version, ("major", "minor", "build"), what=name)
        for offset, part in enumerate(("build", "minor", "major")):
            _put(report, at + offset, 1, version[part], name)
    for table, size in ((_CPUID, 1), (_MITIGATIONS, 8)):
        for name, at in table.items():
            if body[name] is not None:
                _put(report, at, size, body[name], name)
    signature = take_object(body, "signature", what=_REPORT)
    check_names(signature, _SIGNATURE, what="the signature")
    for name, (at, size) in _SIGNATURE.items():
        _put_bytes(report, at, size, signature[name], name)
    return bytes(report)


def encode_chain(certificates: Mapping[str, bytes]) -> JSON:
    """Return the chain of *certificates*, by the names of :data:`CERTIFICATES`."""
    return [{"cert_type": name, "data": list(certificates[name])} for name in CERTIFICATES if name in certificates]


def decode_chain(body: Mapping[str, JSON]) -> tuple[bytes, ...]:
    """Return the certificates in ``cert_chain`` of *body*; kinds that prove nothing are passed over.

    Raises:
        EvidenceMalformed: it is no chain.
    """
    if body.get("cert_chain") is None:
        return ()
    entries = take_list(body, "cert_chain", what=_WHAT)
    if len(entries) > MAX_SNP_CERTIFICATES:
        raise EvidenceMalformed(f"{_WHAT} holds more than {MAX_SNP_CERTIFICATES} certificates")
    found = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise EvidenceMalformed(f"a certificate of {_WHAT} is no object")
        check_names(entry, ("cert_type", "data"), what="a certificate")
        data = from_numbers(entry["data"], what="a certificate")
        if len(data) > MAX_CERTIFICATE_BYTES:
            raise EvidenceMalformed(f"a certificate of {_WHAT} is longer than {MAX_CERTIFICATE_BYTES} bytes")
        if isinstance(entry["cert_type"], str) and entry["cert_type"] in CERTIFICATES:
            found.append(data)
    return tuple(found)


def parse_table(table: bytes) -> dict[str, bytes]:
    """Return the certificates in the host's *table* (GHCB specification, 4.1.8.1) by name; raises EvidenceMalformed."""
    # Hosts have written GUIDs as they read and, as UEFI does, mixed-endian: no GUID is another one backwards.
    names = {it: name for name, guid in CERTIFICATES.items() for it in (UUID(guid).bytes, UUID(guid).bytes_le)}
    found: dict[str, bytes] = {}
    for at in range(0, len(table), 24):
        entry = table[at : at + 24]
        if len(entry) < 24 or not any(entry):
            return found
        start, size = _number(entry, 16, 4), _number(entry, 20, 4)
        if start + size > len(table) or size > MAX_CERTIFICATE_BYTES or len(found) >= MAX_SNP_CERTIFICATES:
            raise EvidenceMalformed("the host's certificate table is damaged")
        if (name := names.get(entry[:16])) is not None:
            found[name] = table[start : start + size]
    return found


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _numbers(data: bytes, at: int, size: int) -> JSON:
    return list(data[at : at + size])


def _put(report: bytearray, at: int, size: int, value: JSON, name: str) -> None:
    if type(value) is not int or not 0 <= value < 1 << (8 * size):
        raise EvidenceMalformed(f"{name} of {_REPORT} is no number of {size} bytes")
    report[at : at + size] = value.to_bytes(size, "little")


def _put_bytes(report: bytearray, at: int, size: int, value: JSON, name: str) -> None:
    data = from_numbers(value, what=name)
    if len(data) != size:
        raise EvidenceMalformed(f"{name} of {_REPORT} has {len(data)} bytes, not {size}")
    report[at : at + size] = data
