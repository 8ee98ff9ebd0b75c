"""Writes what BigDL PPML wrote, from the documented layout of bytes; the package under test has no writer.

``short=True`` computes the MAC as the predecessor's streams did, over all but as many bytes as the padding has.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA1

SECONDS = 1_660_000_000
IV = bytes(range(100, 116))
#: What a vault's 32 random bytes, BigDL's 16 and the simple service's 16 digits were used as.
AZURE_KEY = base64.b64encode(bytes(range(32))).decode()
PLAIN_KEY = base64.b64encode(bytes(range(40, 56))).decode()
SIMPLE_PRIMARY = "1234566543219876"
SIMPLE_DIGITS = "0918273645546372"


def simple_key() -> tuple[str, str]:
    """Return the wrapped data key of SimpleKeyManagementService, and its text."""
    wrapped = "".join(
        str((int(one) + int(other)) % 10) for one, other in zip(SIMPLE_PRIMARY, SIMPLE_DIGITS, strict=True)
    )
    return wrapped, "".join(str(ord(digit)) for digit in SIMPLE_DIGITS)


def cbc(key: bytes, iv: bytes, plain: bytes) -> bytes:
    count = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(plain + bytes([count]) * count) + encryptor.finalize()


def split(key_text: str, bits: int) -> tuple[bytes, bytes]:
    secret = key_text.encode()
    size = bits // 8
    return secret[:16], (secret[16 : 16 + size] + bytes(size))[:size]


def sealed(key_text: str, plain: bytes, *, bits: int, iv: bytes, short: bool) -> bytes:
    mac_key, aes_key = split(key_text, bits)
    ciphertext = cbc(aes_key, iv, plain)
    covered = ciphertext[: len(plain)] if short else ciphertext
    return ciphertext + hmac.new(mac_key, covered, hashlib.sha256).digest()


def gen_a(key_text: str, plain: bytes, *, bits: int = 128, iv: bytes = IV, short: bool = False) -> bytes:
    return struct.pack(">Bq", 0x80, SECONDS) + iv + sealed(key_text, plain, bits=bits, iv=iv, short=short)


def gen_b(key_text: str, plain: bytes, *, wrapped: str = "", iv: bytes = IV, short: bool = False) -> bytes:
    header = struct.pack(">ii", len(wrapped), len(iv)) + wrapped.encode() + iv
    return header.ljust(400, b"\x80") + sealed(key_text, plain, bits=128, iv=iv, short=short)


def native(key: bytes, plain: bytes, *, iv: bytes = IV) -> bytes:
    return iv + cbc(key, iv, plain)


def fernet(key: bytes, plain: bytes, *, iv: bytes = IV) -> bytes:
    body = struct.pack(">BQ", 0x80, SECONDS) + iv + cbc(key[16:], iv, plain)
    return base64.urlsafe_b64encode(body + hmac.new(key[:16], body, hashlib.sha256).digest())


def wrap_plain_text(primary: bytes, data_key: str) -> str:
    count = 16 - len(data_key) % 16
    encryptor = Cipher(algorithms.AES(primary), modes.ECB()).encryptor()
    return base64.b64encode(encryptor.update(data_key.encode() + bytes([count]) * count)).decode()


def wrap_rsa(public: rsa.RSAPublicKey, data_key: bytes) -> str:
    oaep = rsa_padding.OAEP(rsa_padding.MGF1(SHA1()), SHA1(), None)
    return base64.b64encode(public.encrypt(data_key, oaep)).decode()


@dataclass
class Memory:
    """A file in memory, whose content a test may change."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read_into(self, offset: int, out: memoryview) -> int:
        piece = self.data[offset : offset + len(out)]
        out[: len(piece)] = piece
        return len(piece)
