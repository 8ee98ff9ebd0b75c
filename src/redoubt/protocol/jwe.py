"""Secrets for the holder of one key: flattened JWE, byte for byte as Trustee writes and its clients read it.

Sources: RFC 7516 (JWE, flattened JSON), RFC 7518 (ECDH-ES+A256KW 4.6, RSA-OAEP-256 4.3, A256GCM 5.3, Concat KDF),
kbs-types of Confidential Containers.

Two facts of Trustee's clients decide the layout. ``epk`` stands *inside* ``protected``; libraries put it into the
unprotected header. And clients compute the additional data from the parsed header, spelt again by their own rules: so
``protected`` has the members alg, enc, epk in this order, and those of ``epk`` sorted, without white space.

Decides that a recipient's key is one that is served (P-256, P-521, RSA of 2048 bits and more) with an algorithm that
is; RSA1_5, whose padding errors can be told apart, never is. Says of a message that does not open nothing but that.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from redoubt.errors import SecretRefused
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64url, parse_object
from redoubt.limits import (
    DATA_KEY_BYTES,
    GCM_NONCE_BYTES,
    MAX_JWE_BYTES,
    MAX_RSA_BITS,
    MAX_RSA_EXPONENT_BITS,
    MIN_RSA_BITS,
)
from redoubt.protocol.messages import write_object

ECDH: Final = "ECDH-ES+A256KW"
RSA_OAEP: Final = "RSA-OAEP-256"
CONTENT: Final = "A256GCM"
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = MappingProxyType({"P-256": ec.SECP256R1(), "P-521": ec.SECP521R1()})
_EC_MEMBERS: Final = frozenset({"kty", "alg", "crv", "x", "y"})
_RSA_MEMBERS: Final = frozenset({"kty", "alg", "n", "e"})
_MESSAGE: Final = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
_TAG_BYTES: Final = 16
_OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key that secrets can be encrypted to: only :meth:`parse` makes one."""

    #: As it was sent: exactly the members that RCAR hashes.
    jwk: Mapping[str, str]
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey

    @classmethod
    def parse(cls, jwk: JSON) -> Recipient:
        """Return the key that *jwk* is; raises SecretRefused for another kind of key, or an algorithm not served."""
        if not isinstance(jwk, Mapping):
            raise SecretRefused("the key to encrypt to is no object")
        texts = {name: value for name, value in jwk.items() if isinstance(value, str)}
        kind, algorithm = texts.get("kty"), texts.get("alg")
        if (kind, algorithm) not in (("EC", ECDH), ("RSA", RSA_OAEP)):
            raise SecretRefused(f"a key of kind {str(kind)[:16]!r} for {str(algorithm)[:32]!r} is not served")
        if set(jwk) != (_EC_MEMBERS if kind == "EC" else _RSA_MEMBERS) or len(texts) != len(jwk):
            raise SecretRefused("the key to encrypt to has unknown or missing members")
        return cls(MappingProxyType(texts), _ec_key(texts) if kind == "EC" else _rsa_key(texts))


def public_jwk(key: PrivateKey) -> dict[str, str]:
    """Return the public half of *key* as RCAR's ``tee-pubkey``; raises SecretRefused for a curve not served."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        rsa_numbers = public.public_numbers()
        modulus, exponent = (it.to_bytes((it.bit_length() + 7) // 8) for it in (rsa_numbers.n, rsa_numbers.e))
        return {"kty": "RSA", "alg": RSA_OAEP, "n": _base64url(modulus), "e": _base64url(exponent)}
    return {**_ec_numbers(public), "alg": ECDH}


def encrypt(secret: bytes, recipient: Recipient) -> bytes:
    """Return *secret*, encrypted to *recipient*, as flattened JWE."""
    content_key = os.urandom(DATA_KEY_BYTES)
    header: dict[str, JSON] = {"alg": recipient.jwk["alg"], "enc": CONTENT}
    if isinstance(recipient.key, rsa.RSAPublicKey):
        encrypted_key = recipient.key.encrypt(content_key, _OAEP)
    else:
        ephemeral = ec.generate_private_key(recipient.key.curve)
        header["epk"] = dict(sorted(_ec_numbers(ephemeral.public_key()).items()))
        encrypted_key = aes_key_wrap(_wrapping_key(ephemeral, recipient.key), content_key)
    protected = _base64url(write_object(header))
    iv = os.urandom(GCM_NONCE_BYTES)
    sealed = AESGCM(content_key).encrypt(iv, secret, protected.encode())
    parts = (encrypted_key, iv, sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:])
    return write_object(dict(zip(_MESSAGE, (protected, *map(_base64url, parts)), strict=True)))


def decrypt(message: bytes, key: PrivateKey) -> bytes:
    """Return the secret in *message*, a flattened JWE to *key*; raises SecretRefused."""
    body = parse_object(message, what="the encrypted secret", limit=MAX_JWE_BYTES, refusal=SecretRefused)
    if set(body) != set(_MESSAGE):
        raise SecretRefused("the encrypted secret has unknown or missing members")
    protected = body["protected"]
    raw, encrypted_key, iv, ciphertext, tag = (
        from_base64url(body[it], what=f"{it!r} of the encrypted secret", refusal=SecretRefused) for it in _MESSAGE
    )
    header = parse_object(raw, what="the header of the secret", limit=MAX_JWE_BYTES, refusal=SecretRefused)
    algorithm = RSA_OAEP if isinstance(key, rsa.RSAPrivateKey) else ECDH
    members = {"alg", "enc"} if algorithm == RSA_OAEP else {"alg", "enc", "epk"}
    if header.get("alg") != algorithm or header.get("enc") != CONTENT or set(header) != members:
        raise SecretRefused("the secret is encrypted in a way that is not served, or not for this kind of key")
    if len(iv) != GCM_NONCE_BYTES or len(tag) != _TAG_BYTES or not isinstance(protected, str):
        raise SecretRefused("the encrypted secret has a part of another size")
    content_key = _content_key(header, encrypted_key, key)
    try:
        return AESGCM(content_key).decrypt(iv, ciphertext + tag, protected.encode())
    except InvalidTag:
        raise SecretRefused("the secret does not open: it was changed, or is for another key") from None


def _content_key(header: Mapping[str, JSON], encrypted_key: bytes, key: PrivateKey) -> bytes:
    try:
        if isinstance(key, rsa.RSAPrivateKey):
            content_key = key.decrypt(encrypted_key, _OAEP)
        else:
            content_key = aes_key_unwrap(_wrapping_key(key, _ephemeral(header["epk"], key.curve)), encrypted_key)
    except (InvalidUnwrap, ValueError):
        content_key = b""
    if len(content_key) != DATA_KEY_BYTES:
        raise SecretRefused("the secret does not open: it was changed, or is for another key")
    return content_key


def _ephemeral(value: JSON, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    texts = {name: it for name, it in value.items() if isinstance(it, str)} if isinstance(value, Mapping) else {}
    if not isinstance(value, Mapping) or set(value) != _EC_MEMBERS - {"alg"} or texts.get("kty") != "EC":
        raise SecretRefused("the ephemeral key of the secret is none")
    key = _ec_key(texts)
    if key.curve.name != curve.name:
        raise SecretRefused("the ephemeral key of the secret is on another curve")
    return key


def _wrapping_key(private: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey) -> bytes:
    """Return the key that wraps the content key: RFC 7518, 4.6.2, without apu and apv."""
    shared = private.exchange(ec.ECDH(), public)
    algorithm = ECDH.encode()
    other = b"".join((len(algorithm).to_bytes(4), algorithm, bytes(4), bytes(4), (8 * DATA_KEY_BYTES).to_bytes(4)))
    return ConcatKDFHash(hashes.SHA256(), DATA_KEY_BYTES, other).derive(shared)


def _ec_key(texts: Mapping[str, str]) -> ec.EllipticCurvePublicKey:
    curve = _CURVES.get(texts.get("crv", ""))
    if curve is None:
        raise SecretRefused(f"the curve {texts.get('crv', '')[:16]!r} is not served; P-256 and P-521 are")
    size = (curve.key_size + 7) // 8
    x, y = (from_base64url(texts.get(it), what=f"{it!r} of the key", refusal=SecretRefused) for it in ("x", "y"))
    if len(x) != size or len(y) != size:
        raise SecretRefused("the key's coordinates have another length than its curve's")
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError:
        raise SecretRefused("the key is no point of its curve") from None


def _ec_numbers(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    name = next((it for it, curve in _CURVES.items() if curve.name == key.curve.name), None)
    if name is None:
        raise SecretRefused(f"the curve {key.curve.name} is not served; P-256 and P-521 are")
    size = (key.curve.key_size + 7) // 8
    numbers = key.public_numbers()
    return {
        "kty": "EC",
        "crv": name,
        "x": _base64url(numbers.x.to_bytes(size)),
        "y": _base64url(numbers.y.to_bytes(size)),
    }


def _rsa_key(texts: Mapping[str, str]) -> rsa.RSAPublicKey:
    modulus, exponent = (
        int.from_bytes(from_base64url(texts[it], what=f"{it!r} of the key", refusal=SecretRefused)) for it in ("n", "e")
    )
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise SecretRefused(f"the key is RSA of {modulus.bit_length()} bits")
    # Accepted by the library, and then no encryption works: OpenSSL takes exponents of 64 bits for the longer keys.
    if modulus % 2 == 0 or exponent.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise SecretRefused("the key's numbers are no RSA key")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise SecretRefused("the key's numbers are no RSA key") from None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
