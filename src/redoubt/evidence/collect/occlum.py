"""SGX quotes inside Occlum: an ioctl on ``/dev/sgx``.

Source: occlum/occlum, ``src/libos/src/fs/dev_fs/dev_sgx``: SGXIOC_GET_DCAP_QUOTE_SIZE is _IOR('s', 7, u32),
SGXIOC_GEN_DCAP_QUOTE is _IOWR('s', 8, {report_data*, quote_len*, quote_buf*}). On a plain host ``/dev/sgx`` is a
folder.
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
from redoubt.limits import MAX_QUOTE_BYTES

GET_DCAP_QUOTE_SIZE = 0x80047307
GEN_DCAP_QUOTE = 0xC0187308


class Occlum:
    """Occlum's ``/dev/sgx``."""

    name = "occlum"
    tees = frozenset({Tee.SGX})

    def __init__(self, root: Path = Path("/"), *, ioctl: Ioctl = real_ioctl) -> None:
        self._device = root / "dev/sgx"
        self._ioctl = ioctl

    def look(self) -> Finding:
        """Return whether this process runs in Occlum."""
        return look_for_device(self._device, os.R_OK)

    def collect(self, report_data: bytes) -> Collected:
        """Return an SGX quote over *report_data*; raises AttestError."""
        check_report_data_length(report_data)
        with opened(self._device, os.O_RDONLY) as device:
            size = bytearray(4)
            self._ioctl(device, GET_DCAP_QUOTE_SIZE, size)
            length = int.from_bytes(size, "little")
            if not 0 < length <= MAX_QUOTE_BYTES:
                raise AttestError(f"{self._device} announces a quote of {length} bytes")
            data = ctypes.create_string_buffer(report_data, len(report_data))
            quote = ctypes.create_string_buffer(length)
            used = ctypes.c_uint32(length)
            argument = bytearray(
                struct.pack("=QQQ", ctypes.addressof(data), ctypes.addressof(used), ctypes.addressof(quote))
            )
            self._ioctl(device, GEN_DCAP_QUOTE, argument)
        if not 0 < used.value <= length:
            raise AttestError(f"{self._device} returned a quote of {used.value} bytes")
        return Collected(Tee.SGX, quote.raw[: used.value])
