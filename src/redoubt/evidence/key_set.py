"""The signing keys of an issuer of attestation results, as the caller got them from that issuer.

Source: RFC 7517 (JWK sets), RFC 7518, 6 (key parameters). Microsoft publishes keys as ``x5c`` only, Intel as both.

Decides which keys of a set may verify tokens: RSA of at least 2048 bits and NIST curves, meant for signatures, each
with its own key id. Symmetric and private keys are refused, whatever stands beside them: a set that holds one was not
made for verifiers.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import EvidenceMalformed, TokenAlgorithm, TokenKeyUnknown, TokenMalformed
from redoubt.evidence.attestation_key import AttestationKey, canonical, check_key, load_key, rsa_key
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64url, parse_object
from redoubt.limits import MAX_CERTIFICATE_BYTES, MAX_KEY_SET_BYTES, MAX_KEY_SET_KEYS

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_SECRET_PARAMETERS: Final = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth"})


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One verification key. ``algorithm`` and the times are limits that its publisher set, where it set them."""

    key: AttestationKey
    kid: str | None = None
    algorithm: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer."""

    keys: tuple[IssuerKey, ...]

    def select(self, kid: str | None, *, now: datetime) -> IssuerKey:
        """Return the key that a token with the key id *kid* must be signed with.

        A token without key id can only mean the one key of a set of one.

        Raises:
            TokenKeyUnknown: there is none, more than one, or its certificate is not valid at *now*.
        """
        found = [it for it in self.keys if kid is None or it.kid == kid]
        if kid is not None and not found and len(self.keys) == 1 and self.keys[0].kid is None:
            found = list(self.keys)  # a bare key, pinned by the caller: it has no id that could differ
        if len(found) != 1:
            raise TokenKeyUnknown("the token's key id names no key of the issuer" if kid else "the token names no key")
        (key,) = found
        if (key.not_before and now < key.not_before) or (key.not_after and now > key.not_after):
            raise TokenKeyUnknown("the certificate of the issuer's key is not valid at the verifier's time")
        return key


def load_keys(text: bytes) -> KeySet:
    """Return the keys in *text*: a JWK set, one JWK, or a public key in PEM or DER.

    Raises:
        TokenMalformed: it is none of these, or a key in it is damaged, secret or too weak.
    """
    try:
        if text.lstrip()[:1] != b"{":
            return KeySet((IssuerKey(load_key(text)),))
        body = parse_object(text, what="the key set", limit=MAX_KEY_SET_BYTES)
        members = body.get("keys", [body])
        if not isinstance(members, list) or not 0 < len(members) <= MAX_KEY_SET_KEYS:
            raise EvidenceMalformed(f"the key set does not hold 1 to {MAX_KEY_SET_KEYS} keys")
        keys = [key for member in members if (key := _key(member)) is not None]
    except EvidenceMalformed as error:
        raise TokenMalformed(error.what) from None
    if not keys:
        raise TokenMalformed("the key set holds no key for signatures")
    named = [it.kid for it in keys if it.kid is not None]
    if len(set(named)) != len(named):
        raise TokenMalformed("two keys of the set have one key id")
    return KeySet(tuple(keys))


def _key(member: JSON) -> IssuerKey | None:
    if not isinstance(member, Mapping):
        raise EvidenceMalformed("a key of the set is no object")
    if not _SECRET_PARAMETERS.isdisjoint(member) or member.get("kty") == "oct":
        raise EvidenceMalformed("the key set holds a secret key; verifiers get public keys only")
    if member.get("use", "sig") != "sig":
        return None
    kid, algorithm = (_text(member, name) for name in ("kid", "alg"))
    if "n" not in member and "x" not in member:
        return _certified(member, kid, algorithm)
    if member.get("kty") == "RSA":
        modulus, exponent = (int.from_bytes(_bytes(member, name)) for name in ("n", "e"))
        return IssuerKey(rsa_key(modulus=modulus, exponent=exponent), kid, algorithm)
    curve = _CURVES.get(str(member.get("crv")))
    if member.get("kty") != "EC" or curve is None:
        return None  # a key of a kind that no accepted algorithm uses: it verifies nothing
    x, y = (int.from_bytes(_bytes(member, name)) for name in ("x", "y"))
    try:
        return IssuerKey(ec.EllipticCurvePublicNumbers(x, y, curve).public_key(), kid, algorithm)
    except ValueError:
        raise EvidenceMalformed("a key of the set is no point of its curve") from None


def _certified(member: Mapping[str, JSON], kid: str | None, algorithm: str | None) -> IssuerKey:
    # The set came from the issuer, so the leaf is trusted as its key would be; the chain adds nothing to that.
    chain = member.get("x5c")
    leaf = chain[0] if isinstance(chain, list) and chain else None
    if not isinstance(leaf, str) or len(leaf) > MAX_CERTIFICATE_BYTES:
        raise EvidenceMalformed("a key of the set has neither its numbers nor a certificate")
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(leaf, validate=True))
        key = check_key(certificate.public_key())
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except EvidenceMalformed:
        raise
    except Exception:  # noqa: BLE001 - cryptography documents no closed list of what odd certificates raise
        raise EvidenceMalformed("a certificate of the key set is damaged") from None
    return IssuerKey(key, kid, algorithm, begins, ends)


def same_key(embedded: JSON, key: AttestationKey) -> bool:
    """Return whether the JWK *embedded* in a token is only a copy of *key*."""
    try:
        found = _key(embedded)
    except EvidenceMalformed:
        return False
    return found is not None and canonical(found.key) == canonical(key)


def check_algorithm(key: IssuerKey, algorithm: str) -> None:
    """Return if tokens with this *algorithm* may be verified with *key*; raises TokenAlgorithm."""
    if key.algorithm is not None and key.algorithm != algorithm:
        raise TokenAlgorithm(f"the issuer's key is for {key.algorithm[:16]!r}, the token is signed with {algorithm}")
    if isinstance(key.key, ec.EllipticCurvePublicKey) != algorithm.startswith("ES"):
        raise TokenAlgorithm(f"{algorithm} is not an algorithm of the issuer's key")


def _text(member: Mapping[str, JSON], name: str) -> str | None:
    value = member.get(name)
    if value is not None and not isinstance(value, str):
        raise EvidenceMalformed(f"{name!r} of a key is not a text")
    return value


def _bytes(member: Mapping[str, JSON], name: str) -> bytes:
    return from_base64url(member.get(name), what=f"{name!r} of a key")
