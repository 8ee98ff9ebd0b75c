"""The root key of a local keystore or a broker's store: from a 0600 key file, or from a passphrase by Argon2id.

The root key never encrypts anything itself. Two keys are derived from it for one keystore id: one wraps primary keys,
the other is the check value that the keystore records, so that a wrong file or passphrase is a :class:`RootKeyError`
before anything is unwrapped, never garbage afterwards.

Argon2id parameters are RFC 9106, section 4, second recommended option (64 MiB, three passes, four lanes); they are
recorded in the keystore and bounded when read, so that an edited keystore can neither weaken nor stall the derivation.
A passphrase comes from a prompt, a file or a file descriptor: arguments and environments are readable by others.
"""

from __future__ import annotations

import getpass
import hmac
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, Self

from redoubt.crypto.wrap import subkey
from redoubt.errors import KeystoreDamaged, NotFound, PassphraseError, RootKeyError, UsageError
from redoubt.keys.private import create_private_file, read_private_file
from redoubt.limits import DATA_KEY_BYTES, MAX_PASSPHRASE_BYTES

ARGON2_SALT_BYTES: Final = 16
ARGON2_TIME_COST: Final = 3
ARGON2_MEMORY_KIB: Final = 64 * 1024
ARGON2_LANES: Final = 4
#: At most what RFC 9106's first recommended option uses (2 GiB), and a minute of passes over it.
MAX_ARGON2_MEMORY_KIB: Final = 2 * 1024 * 1024
MAX_ARGON2_TIME_COST: Final = 64
MAX_ARGON2_LANES: Final = 64


class RootKey:
    """A root key in memory. It prints without its secret and cannot be pickled (hardening H22)."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != DATA_KEY_BYTES:
            raise RootKeyError(f"a root key has {DATA_KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret

    @property
    def secret(self) -> bytes:
        """The 32 key bytes, for whatever wraps or splits a root key."""
        return self._secret

    def wrapping_key(self, keystore_id: bytes) -> bytes:
        """Return the key (32 bytes) that wraps the primary keys of one keystore."""
        return subkey(self._secret, label="redoubt/root-key/wrap/v1", fields=(keystore_id,))

    def check_value(self, keystore_id: bytes) -> bytes:
        """Return the public value (32 bytes) by which a keystore recognises its root key."""
        return subkey(self._secret, label="redoubt/root-key/check/v1", fields=(keystore_id,))

    def check(self, *, keystore_id: bytes, check_value: bytes, refusal: RootKeyError) -> None:
        """Check that this is the root key the keystore was made with; raises *refusal* if it is another one."""
        if not hmac.compare_digest(self.check_value(keystore_id), check_value):
            raise refusal

    def __repr__(self) -> str:
        return "RootKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("root keys never leave the process that read them")


def create_root_key_file(path: Path) -> RootKey:
    """Write 32 random bytes to the new file *path* (0600, on disk) and return them as a root key."""
    secret = os.urandom(DATA_KEY_BYTES)
    create_private_file(path, secret)
    return RootKey(secret)


def read_root_key_file(path: Path) -> RootKey:
    """Return the root key in *path*.

    Raises:
        RootKeyError: the file is missing, a link, not regular, of another owner, open to others, or of another length.
        StorageError: the operating system refuses to read it.
    """
    try:
        secret = read_private_file(path, limit_bytes=DATA_KEY_BYTES, what="the root key file", refusal=RootKeyError)
    except NotFound as error:
        raise RootKeyError(error.what) from None
    if len(secret) != DATA_KEY_BYTES:
        raise RootKeyError(f"the root key file {path} has {len(secret)} bytes, not {DATA_KEY_BYTES}")
    return RootKey(secret)


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """How a passphrase becomes a root key: public, recorded in the keystore. Memory in KiB."""

    salt: bytes = field(default_factory=lambda: os.urandom(ARGON2_SALT_BYTES))
    time_cost: int = ARGON2_TIME_COST
    memory_kib: int = ARGON2_MEMORY_KIB
    lanes: int = ARGON2_LANES

    def __post_init__(self) -> None:
        if (
            len(self.salt) != ARGON2_SALT_BYTES
            or not 1 <= self.time_cost <= MAX_ARGON2_TIME_COST
            or not ARGON2_MEMORY_KIB <= self.memory_kib <= MAX_ARGON2_MEMORY_KIB
            or not 1 <= self.lanes <= MAX_ARGON2_LANES
        ):
            raise KeystoreDamaged("the keystore's Argon2id parameters are outside the bounds of this version")

    def derive(self, passphrase: bytes) -> RootKey:
        """Return the root key of *passphrase*; takes about 0.1 s and ``memory_kib`` of memory."""
        from argon2.low_level import Type, hash_secret_raw  # not needed by workspaces with a key file

        return RootKey(
            hash_secret_raw(passphrase, self.salt, self.time_cost, self.memory_kib, self.lanes, DATA_KEY_BYTES, Type.ID)
        )


@dataclass(frozen=True, slots=True)
class PassphraseSource:
    """Where a passphrase is read from: a 0600 file, an open file descriptor, or (neither given) the terminal."""

    file: Path | None = None
    descriptor: int | None = None

    @classmethod
    def of(cls, *, file: Path | None, descriptor: int | None, prompt: bool = False) -> Self | None:
        """Return the one source that the caller chose, or None.

        Raises:
            UsageError: more than one was chosen, or the descriptor is negative.
        """
        if (file is not None) + (descriptor is not None) + prompt > 1:
            raise UsageError("give one source of the passphrase, not several")
        if descriptor is not None and descriptor < 0:
            raise UsageError(f"{descriptor} is not a file descriptor")
        return cls(file, descriptor) if prompt or file is not None or descriptor is not None else None

    def read(self, *, confirm: bool = False, ask: Callable[[str], str] | None = None) -> bytes:
        """Return the passphrase as NFC-normalised UTF-8, without one line end at its end.

        A descriptor can be read once. *confirm* asks twice at a prompt; *ask* replaces the terminal in tests.

        Raises:
            PassphraseError: it is empty, too long, not UTF-8, or its file is open to others.
            NotFound: the passphrase file does not exist.
            UsageError: the two answers differ, or the descriptor cannot be read.
        """
        if self.file is not None:
            return _canonical(
                read_private_file(
                    self.file, limit_bytes=MAX_PASSPHRASE_BYTES + 2, what="the passphrase file", refusal=PassphraseError
                )
            )
        if self.descriptor is not None:
            return _canonical(_read_descriptor(self.descriptor))
        ask = ask or _ask_terminal
        answer = ask("Passphrase of the workspace: ")
        if confirm and ask("The same again: ") != answer:
            raise UsageError("the two passphrases differ")
        return _canonical(answer.encode("utf-8", "surrogateescape"))


def _canonical(raw: bytes) -> bytes:
    # The same passphrase has several spellings in Unicode, and keyboards differ in which one they give (RFC 8265).
    try:
        text = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise PassphraseError("the passphrase is not UTF-8 text") from None
    passphrase = unicodedata.normalize("NFC", text).encode()
    if not passphrase:
        raise PassphraseError("the passphrase is empty")
    if len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise PassphraseError(f"the passphrase is longer than {MAX_PASSPHRASE_BYTES} bytes")
    return passphrase


def _read_descriptor(descriptor: int) -> bytes:
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MAX_PASSPHRASE_BYTES + 3)
    except OSError as error:
        raise UsageError(f"the passphrase cannot be read from descriptor {descriptor}: {error.strerror}") from None


def _ask_terminal(prompt: str) -> str:
    # getpass would fall back to echoing standard input, which is another program's output or the user's data.
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        raise PassphraseError(
            "the workspace has a passphrase, and there is no terminal to ask for it",
            hint="Pass --passphrase-file FILE or --passphrase-fd N.",
        ) from None
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise PassphraseError("no passphrase was given") from None
