"""SEV-SNP reports through ``/dev/sev-guest``, where the kernel has no configfs-tsm yet.

Source: Linux ``include/uapi/linux/sev-guest.h`` and AMD "SEV Secure Nested Paging Firmware ABI Specification", table 25
(MSG_REPORT_RSP: status, size, 24 reserved bytes, report). SNP_GET_EXT_REPORT returns the host's certificates too; where
the host has none, SNP_GET_REPORT is asked.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from redoubt.errors import AttestError
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Collected, Finding, check_report_data_length
from redoubt.evidence.collect.ioctl import Ioctl, look_for_device, opened, real_ioctl
from redoubt.limits import MAX_AUXILIARY_BYTES

#: _IOWR('S', 0 | 2, struct snp_guest_request_ioctl), 32 bytes.
GET_REPORT = 0xC0205300
GET_EXT_REPORT = 0xC0205302
REPORT_BYTES = 1184
_RESPONSE_BYTES = 4000
_MESSAGE_VERSION = 1
_REQUEST = struct.Struct("=64sI28x")
_EXTENDED_REQUEST = struct.Struct("=64sI28xQI4x")
_CALL = struct.Struct("=B7xQQQ")
_RESPONSE = struct.Struct("=II24x")


class SevGuest:
    """The kernel's ``/dev/sev-guest``."""

    name = "sev-guest"
    tees = frozenset({Tee.SNP})

    def __init__(self, root: Path = Path("/"), *, ioctl: Ioctl = real_ioctl, privilege_level: int = 0) -> None:
        self._device = root / "dev/sev-guest"
        self._ioctl = ioctl
        self._privilege_level = privilege_level

    def look(self) -> Finding:
        """Return whether this is an SEV-SNP guest whose device this user may use."""
        return look_for_device(self._device, os.R_OK | os.W_OK)

    def collect(self, report_data: bytes) -> Collected:
        """Return a report over *report_data*, with the host's certificate table if there is one; raises AttestError."""
        check_report_data_length(report_data)
        with opened(self._device, os.O_RDWR) as device:
            certificates = ctypes.create_string_buffer(MAX_AUXILIARY_BYTES)
            extended = _EXTENDED_REQUEST.pack(
                report_data, self._privilege_level, ctypes.addressof(certificates), MAX_AUXILIARY_BYTES
            )
            try:
                report = self._request(device, GET_EXT_REPORT, extended)
            except OSError:
                report = self._request(device, GET_REPORT, _REQUEST.pack(report_data, self._privilege_level))
                return Collected(Tee.SNP, report)
        table = certificates.raw.rstrip(b"\0")
        return Collected(Tee.SNP, report, certificates.raw if table else None)

    def _request(self, device: int, request: int, content: bytes) -> bytes:
        sent = ctypes.create_string_buffer(content, len(content))
        received = ctypes.create_string_buffer(_RESPONSE_BYTES)
        call = bytearray(_CALL.pack(_MESSAGE_VERSION, ctypes.addressof(sent), ctypes.addressof(received), 0))
        self._ioctl(device, request, call)
        status, size = _RESPONSE.unpack_from(received.raw)
        if status or size != REPORT_BYTES:
            raise AttestError(f"{self._device}: the firmware answers with status {status} and {size} bytes")
        return received.raw[_RESPONSE.size : _RESPONSE.size + REPORT_BYTES]
