"""One legacy file, opened under the keys that were given: which layout it has, and which data key is its own.

The data key of a gen-B file is named in its header, and in the ``.meta`` of its folder. Where a data key file is given,
it alone counts: a header that names another is refused. Whoever can write the files can write both, so that
without it an RSA or AES-ECB wrapped key proves nothing about who encrypted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from redoubt.compat.names import Layout
from redoubt.compat.unwrap import Unwrap
from redoubt.crypto.legacy_bigdl import GenA, GenB, open_native
from redoubt.crypto.legacy_cbc import ByteSource, CheckedBody, Coverage, read_exactly
from redoubt.crypto.legacy_fernet import START, open_fernet
from redoubt.crypto.legacy_keys import WEAK_BITS, DataKeyText
from redoubt.errors import LegacyFormatUnknown, LegacyKeyInvalid

_FERNET_BITS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyKeys:
    """What was given to open files with. Prints without keys."""

    #: Opens wrapped data keys; None if only a data key was given.
    unwrap: Unwrap | None = field(default=None, repr=False)
    #: The one wrapped data key that counts.
    wrapped: str | None = field(default=None, repr=False)
    #: A data key that needs no unwrapping, or, of native files, the AES key in base64.
    data_key: DataKeyText | None = field(default=None, repr=False)
    aes_bits: int | None = None
    accept_unauthenticated: bool = False

    @property
    def pinned(self) -> bool:
        """Whether it was given which data key counts."""
        return self.data_key is not None or self.wrapped is not None

    def open_key(self, named: str | None) -> DataKeyText:
        """Return the data key: the given one, else that of *named*, which a file or its folder names.

        Raises:
            LegacyKeyInvalid: there is none.
            LegacyError, KeyError_: it cannot be unwrapped.
        """
        if self.data_key is not None:
            return self.data_key
        wrapped = self.wrapped or named
        if wrapped is None:
            raise LegacyKeyInvalid("no data key is known for this file", hint="Give its file with --data-key.")
        if self.unwrap is None:
            raise LegacyKeyInvalid(
                "no primary key is known that opens the data key", hint="Give --kms and --primary-key."
            )
        return self.unwrap(wrapped)


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that was checked whole."""

    layout: Layout
    plaintext_length: int
    coverage: Coverage
    aes_bits: int
    #: Bits of the AES key that nobody can know.
    strength: int
    #: Whether nothing but the file, or its folder, says which data key it was encrypted under.
    names_own_key: bool
    blocks: Callable[[], Iterator[bytes]] = field(repr=False)

    @property
    def weaknesses(self) -> tuple[str, ...]:
        """What is weak about the file, in words; nothing of it can be mended but by sealing anew."""
        found = []
        if self.strength < WEAK_BITS:
            found.append(f"its key has about {self.strength} bits: treat the content as known to who kept the file")
        if self.names_own_key:
            found.append("it names its data key itself, so whoever can wrap one can have made it: --data-key pins one")
        if self.coverage is Coverage.NONE:
            found.append("no MAC protects it: it was taken as it is")
        elif self.layout in (Layout.GEN_A, Layout.GEN_B):
            found.append("its first 16 bytes are under no MAC")
        if self.coverage is Coverage.SHORT:
            found.append("its MAC leaves out up to 16 bytes at the end")
        return tuple(found)


def detect(source: ByteSource) -> Layout:
    """Return the layout that the header of *source* has; native files have none, and are never guessed.

    Raises:
        LegacyFormatUnknown: it has none.
        LegacyTruncated: it is too short for the one it begins with.
    """
    start = read_exactly(source, 0, min(source.size, 8))
    if start.startswith(START):
        return Layout.FERNET
    if start[:1] == b"\x80":
        return Layout.GEN_A
    if start[:2] == b"\0\0" and start[4:] == b"\0\0\0\x10":
        return Layout.GEN_B
    raise LegacyFormatUnknown("the file has the header of no layout")


def open_legacy(
    source: ByteSource, keys: LegacyKeys, *, layout: Layout | None = None, meta: Callable[[], str | None] = lambda: None
) -> OpenedFile:
    """Check *source*, of *layout* or the one that its header says; *meta* gives the data key that its folder names.

    Raises:
        LegacyError, KeyError_: it is not authentic, or its key cannot be had.
    """
    chosen = layout or detect(source)
    if chosen is Layout.NATIVE:
        text = keys.open_key(None).text
        body = open_native(source, text, accept_unauthenticated=keys.accept_unauthenticated)
        return _opened(chosen, body, strength=body.aes_bits, keys=keys)
    if chosen is Layout.FERNET:
        plain = open_fernet(source, keys.open_key(meta()).text)
        return OpenedFile(
            chosen, len(plain), Coverage.WHOLE, _FERNET_BITS, _FERNET_BITS, not keys.pinned, lambda: iter((plain,))
        )
    if chosen is Layout.GEN_A:
        old = GenA.parse(source)
        key = keys.open_key(meta())
        body = old.open(source, key, aes_bits=keys.aes_bits, accept_unauthenticated=keys.accept_unauthenticated)
    else:
        header = GenB.parse(source)
        key = keys.open_key(header.wrapped or meta())
        body = header.open(source, key, wrapped=None if keys.data_key else keys.wrapped)
    return _opened(chosen, body, strength=key.strength(body.aes_bits), keys=keys)


def _opened(layout: Layout, body: CheckedBody, *, strength: int, keys: LegacyKeys) -> OpenedFile:
    return OpenedFile(
        layout, body.plaintext_length, body.coverage, body.aes_bits, strength, not keys.pinned, body.blocks
    )
