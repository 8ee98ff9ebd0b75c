"""The key of a simulated attester: P-384, in a 0600 file of a 0700 folder.

Whoever reads the file can simulate any machine: that is what "simulated" means. The mode only keeps other users of a
shared development machine from doing it by accident.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from redoubt.errors import StorageError, WorkspaceError
from redoubt.evidence.attestation_key import canonical
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.keys.private import DIRECTORY_MODE, create_private_file, read_private_file, sync_directory

KEY_FILE = "simulated-attester.pem"
_MAX_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class DevelopmentKey:
    """The signing key of one simulated machine."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> DevelopmentKey:
        """Return a new key."""
        return cls(ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def load_or_create(cls, folder: Path) -> DevelopmentKey:
        """Return the key that lies in *folder*, made now if there is none.

        Raises:
            WorkspaceError: the file is readable by others, or is no such key.
            StorageError: it cannot be written.
        """
        path = folder / KEY_FILE
        if not path.exists():
            made = cls.generate()
            try:
                folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
                create_private_file(path, made._pem())
                sync_directory(folder)
            except FileExistsError:
                pass  # another process was first: its key is the one
            except OSError as error:
                raise StorageError(f"the simulated attester's key cannot be written: {error}") from error
            else:
                return made
        content = read_private_file(path, limit_bytes=_MAX_FILE_BYTES, what="the simulated attester's key")
        try:
            private = load_pem_private_key(content, password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP384R1):
            raise WorkspaceError(f"{path} is no P-384 key", hint="Remove the file; a new key is made then.")
        return cls(private)

    @classmethod
    def install(cls, folder: Path, pem: bytes) -> DevelopmentKey:
        """Put the key *pem* of another machine into the new *folder*, so that this machine simulates that one.

        Raises:
            WorkspaceError: it is no such key.
            StorageError: it cannot be written, or there is one.
        """
        try:
            folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            create_private_file(folder / KEY_FILE, pem)
        except OSError as error:
            raise StorageError(f"the simulated attester's key cannot be written: {error}") from error
        return cls.load_or_create(folder)

    @property
    def id(self) -> str:
        """The SHA-256 of the public key."""
        return hashlib.sha256(canonical(self.private.public_key())).hexdigest()

    @property
    def key_set(self) -> KeySet:
        """The public half, as a verifier is given it."""
        return KeySet((IssuerKey(self.private.public_key(), kid=self.id, algorithm="ES384"),))

    def _pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
