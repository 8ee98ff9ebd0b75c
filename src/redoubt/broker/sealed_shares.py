"""Shares on their way to their owners: each encrypted to a key that its owner made for that.

Source: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, by ``cryptography``. The text
is

    redoubt-sealed-share-1:<base64url of encapsulated key and ciphertext>

Owners' signing keys (Ed25519) are not used for this: one key has one purpose, and a key that opens a share is better
made where it is kept. Base mode does not say who sealed: a forged share does not give the root key, and that is found
(:mod:`redoubt.broker.shares`).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from redoubt.broker.shares import Share
from redoubt.errors import AlreadyExists, ShareInvalid, StorageError, UsageError
from redoubt.evidence.strict_json import from_base64url
from redoubt.keys.private import create_private_file, read_private_file, sync_directory
from redoubt.limits import MAX_RECIPIENT_KEY_BYTES, MAX_SHARE_TEXT_BYTES

SEALED_PREFIX: Final = "redoubt-sealed-share-1:"
_RECIPIENT_PREFIX: Final = "x25519:"
_INFO: Final = b"redoubt/sealed-share/v1"
_PUBLIC_BYTES: Final = 32


def recipient_of(path: Path) -> str:
    """Return the public half of the key for shares in the file *path* as text; raises ShareInvalid, NotFound."""
    return recipient_text(_read_key(path).public_key())


def create_recipient_key(path: Path) -> str:
    """Make a key for shares in the new 0600 file *path* and return its public half as text.

    Raises:
        AlreadyExists, StorageError: the file is there, or cannot be written.
    """
    key = X25519PrivateKey.generate()
    try:
        create_private_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        sync_directory(path.parent)
    except FileExistsError:
        raise AlreadyExists(f"{path} exists", hint="Use that key, or name another file.") from None
    except OSError as error:
        raise StorageError(f"the key {path} cannot be written: {error.strerror}") from None
    return recipient_text(key.public_key())


def recipient_text(key: X25519PublicKey) -> str:
    """Return a recipient's public key as text."""
    return _RECIPIENT_PREFIX + base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()


def parse_recipient(text: str) -> X25519PublicKey:
    """Return the public key in *text*; raises UsageError."""
    if not text.startswith(_RECIPIENT_PREFIX) or "=" in text or len(text) > MAX_SHARE_TEXT_BYTES:
        raise UsageError(f"a recipient is {_RECIPIENT_PREFIX} and 43 signs of base64url")
    raw = from_base64url(text.removeprefix(_RECIPIENT_PREFIX), what="the recipient", refusal=UsageError)
    if len(raw) != _PUBLIC_BYTES:
        raise UsageError(f"a recipient's key has {_PUBLIC_BYTES} bytes, this one {len(raw)}")
    return X25519PublicKey.from_public_bytes(raw)


def seal_share(share: Share, recipient: X25519PublicKey) -> str:
    """Return *share* as text that only the holder of *recipient* can open; raises UsageError for a weak key."""
    try:
        sealed = _suite().encrypt(share.text().encode(), recipient, info=_INFO)
    except ValueError:
        raise UsageError("the recipient's key is a point of small order") from None
    return SEALED_PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def open_share(text: str, key_file: Path) -> Share:
    """Return the share in *text*, opened with the private key in *key_file*.

    Raises:
        ShareInvalid: it is no sealed share, was changed, or is another recipient's; or the key file holds no key.
        NotFound, StorageError: the key file cannot be read.
    """
    if len(text) > MAX_SHARE_TEXT_BYTES or not text.startswith(SEALED_PREFIX):
        raise ShareInvalid(f"this is no sealed share: it does not begin with {SEALED_PREFIX}")
    signs = text.strip().removeprefix(SEALED_PREFIX)
    sealed = from_base64url(signs, what="the sealed share", refusal=ShareInvalid)
    try:
        opened = _suite().decrypt(sealed, _read_key(key_file), info=_INFO)
    except (InvalidTag, ValueError):
        raise ShareInvalid("the sealed share was changed, or is for another key") from None
    return Share.parse(opened.decode("ascii", "replace"))


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def _read_key(path: Path) -> X25519PrivateKey:
    pem = read_private_file(path, limit_bytes=MAX_RECIPIENT_KEY_BYTES, what="the key", refusal=ShareInvalid)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ShareInvalid(f"{path} holds no private key in PEM") from None
    if not isinstance(key, X25519PrivateKey):
        raise ShareInvalid(
            f"{path} holds a key that is not for shares (X25519)",
            hint="Name the file that `redoubt broker recipient FILE` makes; an owner's signing key is none of them.",
        )
    return key
