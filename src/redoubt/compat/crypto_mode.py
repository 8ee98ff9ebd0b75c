"""The crypto modes of BigDL PPML: their names stay, and each but plain text means sealed data."""

from __future__ import annotations

from enum import Enum

from redoubt.errors import OptionRefused


class CryptoMode(Enum):
    """How a program says that its data is read or written."""

    PLAIN_TEXT = "plain_text"
    AES_CBC_PKCS5PADDING = "AES/CBC/PKCS5Padding"
    AES_GCM_V1 = "AES_GCM_V1"
    AES_GCM_CTR_V1 = "AES_GCM_CTR_V1"

    @classmethod
    def parse(cls, mode: CryptoMode | str) -> CryptoMode:
        """Return the mode that *mode* names, in any case; raises OptionRefused."""
        if isinstance(mode, CryptoMode):
            return mode
        for known in cls:
            if known.value.lower() == mode.lower():
                return known
        raise OptionRefused(
            f"unknown EncryptMode {mode[:64]!r}", hint=f"It is one of {', '.join(it.value for it in cls)}."
        )
