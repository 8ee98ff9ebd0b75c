"""Key stores of Java's type JKS: one private key with its chain, and CAs.

Source: OpenJDK, ``sun.security.provider.JavaKeyStore`` and ``KeyProtector``; no other specification exists.

The format's protection is SHA-1 without iterations: worth as much as its password. So passwords are 256 random bits
here, never a person's, and the file is as private as a key in clear. PKCS #12 (:mod:`redoubt.pki.keystore`) is the
better store; this one is for programs that ask for JKS by name, on a Java before 8u301 above all, which cannot read
today's PKCS #12. Never reads such a file.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

_MAGIC: Final = 0xFEEDFEED
_VERSION: Final = 2
_KEY_ENTRY: Final = 1
_TRUSTED_ENTRY: Final = 2
_WHITENER: Final = b"Mighty Aphrodite"
_PROTECTOR: Final = x509.ObjectIdentifier("1.3.6.1.4.1.42.2.17.1.1")
_SALT_BYTES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """A private key (PKCS #8, DER) with its certificate and those above it."""

    alias: str
    key: bytes = field(repr=False)
    chain: Sequence[x509.Certificate]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedEntry:
    """A CA."""

    alias: str
    certificate: x509.Certificate


def jks_store(entries: Sequence[KeyEntry | TrustedEntry], *, password: str, now: datetime) -> bytes:
    """Return the store that holds *entries*, made *now*; *password* opens it and each key in it."""
    secret = password.encode("utf-16-be")
    content = struct.pack(">III", _MAGIC, _VERSION, len(entries))
    content += b"".join(_entry(it, secret, now) for it in entries)
    return content + _sha1(secret, _WHITENER, content)


def _entry(entry: KeyEntry | TrustedEntry, secret: bytes, now: datetime) -> bytes:
    head = _utf(entry.alias.lower()) + struct.pack(">q", int(now.timestamp() * 1000))
    if isinstance(entry, TrustedEntry):
        return struct.pack(">I", _TRUSTED_ENTRY) + head + _certificate(entry.certificate)
    chain = struct.pack(">I", len(entry.chain)) + b"".join(map(_certificate, entry.chain))
    return struct.pack(">I", _KEY_ENTRY) + head + _sized(_protected(entry.key, secret)) + chain


def _certificate(certificate: x509.Certificate) -> bytes:
    return _utf("X.509") + _sized(certificate.public_bytes(Encoding.DER))


def _sized(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _utf(text: str) -> bytes:
    """Return *text* as ``DataOutput.writeUTF`` does; Redoubt's aliases are ASCII, where that is UTF-8."""
    assert text.isascii(), "aliases are ASCII"
    return struct.pack(">H", len(text)) + text.encode()


def _protected(key: bytes, secret: bytes) -> bytes:
    """Return *key* as an EncryptedPrivateKeyInfo under Java's own algorithm."""
    salt = block = os.urandom(_SALT_BYTES)
    stream = b""
    while len(stream) < len(key):
        block = _sha1(secret, block)
        stream += block
    hidden = bytes(plain ^ mask for plain, mask in zip(key, stream, strict=False))
    algorithm = _AlgorithmIdentifier(oid=_PROTECTOR, parameters=asn1.Null())
    return asn1.encode_der(_EncryptedPrivateKeyInfo(algorithm=algorithm, data=salt + hidden + _sha1(secret, key)))


def _sha1(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts)).digest()  # noqa: S324 - the format's, see above


@asn1.sequence
class _AlgorithmIdentifier:
    oid: x509.ObjectIdentifier
    parameters: asn1.Null


@asn1.sequence
class _EncryptedPrivateKeyInfo:
    algorithm: _AlgorithmIdentifier
    data: bytes
