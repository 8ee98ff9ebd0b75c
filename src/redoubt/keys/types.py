"""Data keys, wrapped data keys, and the context that binds one to the other.

The context of a wrap is {dataset id, data key id, purpose} from the caller and {key name, version} from the provider;
all five are authenticated, so a wrapped key made for B is refused for A (hardening H5). The binary record of a wrapped
key is the content of a key file and of a key slot (``docs/format.md``, "Wrapped keys").
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, Self
from uuid import UUID

from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.errors import HeaderInvalid, KeyError_
from redoubt.keys.names import KeyName
from redoubt.limits import DATA_KEY_BYTES, MAX_WRAPPED_KEY_BYTES, MAX_WRAPPED_RECORD_BYTES

_RECORD_LABEL = b"redoubt/wrapped-key/v1"
_CONTEXT_LABEL = b"redoubt/wrap-context/v1"
_VERSION = struct.Struct(">I")


class Purpose(StrEnum):
    """What a data key may be used for; a key wrapped for one purpose is refused for another."""

    DATA = "data"
    MODEL = "model"
    CHECKPOINT = "checkpoint"
    #: The root key of a broker's store, wrapped by another provider; never that of data.
    ROOT = "root"


@dataclass(frozen=True, slots=True)
class WrapContext:
    """What a data key belongs to: the caller's half of the authenticated context."""

    dataset_id: UUID
    data_key_id: UUID
    purpose: Purpose = Purpose.DATA

    def encode(self, *, key: KeyName, version: int) -> bytes:
        """Return the associated data of the wrap by version *version* of *key*."""
        return encode_fields(
            _CONTEXT_LABEL,
            self.dataset_id.bytes,
            self.data_key_id.bytes,
            self.purpose.encode(),
            str(key).encode(),
            _VERSION.pack(version),
        )


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key encrypted by one version of a primary key, with everything needed to ask for it again."""

    context: WrapContext
    key: KeyName
    version: int
    mechanism: str
    ciphertext: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.version < 2**32:
            raise KeyError_(f"{self.version} is no version of a primary key")

    def encode(self) -> bytes:
        """Return the canonical record."""
        record = encode_fields(
            _RECORD_LABEL,
            self.context.dataset_id.bytes,
            self.context.data_key_id.bytes,
            self.context.purpose.encode(),
            str(self.key).encode(),
            _VERSION.pack(self.version),
            self.mechanism.encode(),
            self.ciphertext,
        )
        if len(record) > MAX_WRAPPED_RECORD_BYTES or len(self.ciphertext) > MAX_WRAPPED_KEY_BYTES:
            raise KeyError_(f"the wrapped key of {self.key} is larger than the format allows")
        return record

    @classmethod
    def decode(cls, record: bytes) -> Self:
        """Parse a record.

        Raises:
            HeaderInvalid: it is not a canonical wrapped-key record.
        """
        what = "a wrapped-key record"
        if len(record) > MAX_WRAPPED_RECORD_BYTES:
            raise HeaderInvalid(f"{what} is longer than {MAX_WRAPPED_RECORD_BYTES} bytes")
        label, dataset, data_key, purpose, key, version, mechanism, ciphertext = decode_fields(
            record, count=8, what=what
        )
        if label != _RECORD_LABEL:
            raise HeaderInvalid(f"{what} has an unknown label")
        if len(version) != _VERSION.size or len(ciphertext) > MAX_WRAPPED_KEY_BYTES:
            raise HeaderInvalid(f"{what} has a field of impossible length")
        try:
            context = WrapContext(uuid_of(dataset), uuid_of(data_key), Purpose(purpose.decode("ascii")))
            name = KeyName.parse(key.decode("ascii"))
            text = mechanism.decode("ascii")
        except (ValueError, KeyError_):
            raise HeaderInvalid(f"{what} has a malformed field") from None
        try:
            return cls(context, name, _VERSION.unpack(version)[0], text, ciphertext)
        except KeyError_ as error:
            raise HeaderInvalid(f"{what} has a malformed field: {error.what}") from None


def uuid_of(raw: bytes) -> UUID:
    """Return the UUID of 16 raw bytes; raises ValueError on another length."""
    return UUID(bytes=raw)


class DataKey:
    """An unwrapped data key in memory. It prints without its secret and cannot be pickled (hardening H22)."""

    __slots__ = ("_secret", "dataset_id", "id", "purpose")

    def __init__(self, *, context: WrapContext, secret: bytes) -> None:
        if len(secret) != DATA_KEY_BYTES:
            raise KeyError_(f"a data key has {DATA_KEY_BYTES} bytes, not {len(secret)}")
        self.id = context.data_key_id
        self.dataset_id = context.dataset_id
        self.purpose = context.purpose
        self._secret = secret

    @property
    def secret(self) -> bytes:
        """The 32 key bytes."""
        return self._secret

    def __repr__(self) -> str:
        return f"DataKey(id={self.id}, dataset_id={self.dataset_id}, secret=…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("data keys never leave the process that unwrapped them; pass their ids instead")
