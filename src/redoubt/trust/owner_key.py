"""An owner's signing key: Ed25519, PKCS #8 in PEM, in a 0600 file.

The file is all that stands between its reader and the owner's signature; a passphrase or a token is for later.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from redoubt.errors import AlreadyExists, OwnerKeyInvalid, StorageError
from redoubt.keys.private import DIRECTORY_MODE, create_private_file, read_private_file, sync_directory
from redoubt.limits import MAX_OWNER_KEY_BYTES


def create_owner_key(path: Path) -> Ed25519PrivateKey:
    """Make a key in the new file *path*; raises AlreadyExists or StorageError."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        create_private_file(path, pem)
        sync_directory(path.parent)
    except FileExistsError:
        raise AlreadyExists(f"the owner's key {path} exists", hint="Use it, or name another file with --key.") from None
    except OSError as error:
        raise StorageError(f"the owner's key {path} cannot be written: {error.strerror}") from None
    return key


def read_owner_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in the file *path*; raises NotFound, StorageError, or OwnerKeyInvalid."""
    pem = read_private_file(path, limit_bytes=MAX_OWNER_KEY_BYTES, what="the owner's key", refusal=OwnerKeyInvalid)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise OwnerKeyInvalid(f"{path} holds no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise OwnerKeyInvalid(f"{path} holds a key that is not Ed25519")
    return key
