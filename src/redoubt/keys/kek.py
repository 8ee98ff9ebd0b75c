"""Key-encryption keys: how data keys are bound to their context by providers that take no associated data.

Such a provider (RSA-OAEP, AES-KW) wraps 32 random bytes once, when a primary key version is made. Data keys are wrapped
with AES-256-GCM and their context under a subkey of those bytes that is bound to {key name, version, books} as well.
The wrapped key-encryption key and a check value stand in the books and nowhere else: RSA-OAEP authenticates nothing,
and whoever could hand one in could forge data keys (``docs/adr/0013-providers.md``).

A key-encryption key is in memory for one batch and is never cached, so that disabling the key at the provider takes
effect at once.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Sequence
from typing import Final, NoReturn, Self

from redoubt.crypto.wrap import subkey, unwrap_key, wrap_key
from redoubt.errors import KeystoreDamaged
from redoubt.keys.holder import KeyVersion, Unwrapped, Wrapped
from redoubt.limits import DATA_KEY_BYTES

MECHANISM: Final = "kek-aes-256-gcm"
_VERSION = struct.Struct(">I")


class KeyEncryptionKey:
    """A key-encryption key in memory, of one primary key version. It prints without its secret and is never pickled."""

    __slots__ = ("_secret", "_version")

    def __init__(self, secret: bytes, version: KeyVersion) -> None:
        """Use :meth:`new` or :meth:`opened`."""
        self._secret = secret
        self._version = version

    @classmethod
    def new(cls, version: KeyVersion) -> Self:
        """Make one for *version*."""
        return cls(os.urandom(DATA_KEY_BYTES), version)

    @classmethod
    def opened(cls, secret: bytes, version: KeyVersion, *, check_value: bytes) -> Self:
        """Return what a provider unwrapped, if it is the key of *version*.

        Raises:
            KeystoreDamaged: it is another one.
        """
        key = cls(secret, version)
        if len(secret) != DATA_KEY_BYTES or not hmac.compare_digest(key.check_value, check_value):
            raise KeystoreDamaged(f"the key-encryption key in the books' entry of {version} does not belong there")
        return key

    @property
    def secret(self) -> bytes:
        """The 32 bytes that the provider wraps."""
        return self._secret

    @property
    def check_value(self) -> bytes:
        """The public value (32 bytes) by which the books recognise this key as that of its version."""
        return self._subkey("redoubt/kek/check/v1")

    def wrap(self, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        """Wrap *keys*, in order."""
        wrapping_key = self._subkey("redoubt/kek/wrap/v1")
        return [wrap_key(it.secret, wrapping_key=wrapping_key, associated_data=it.associated_data) for it in keys]

    def unwrap(self, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        """Unwrap *keys*, in order; raises WrapRefused."""
        wrapping_key = self._subkey("redoubt/kek/wrap/v1")
        return [unwrap_key(it.ciphertext, wrapping_key=wrapping_key, associated_data=it.associated_data) for it in keys]

    def _subkey(self, label: str) -> bytes:
        version = self._version
        fields = (str(version.name).encode(), _VERSION.pack(version.number), version.books)
        return subkey(self._secret, label=label, fields=fields)

    def __repr__(self) -> str:
        return "KeyEncryptionKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("key-encryption keys never leave the process that unwrapped them")
