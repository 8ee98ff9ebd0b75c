"""Machines and issuers that do not exist: TPMs, HCL reports and token issuers with keys of the tests' own.

Written from the specifications and not with the parsers under test, so that a fault in those cannot hide here.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
HASHES: Mapping[str, tuple[int, hashes.HashAlgorithm]] = {
    "sha1": (0x0004, hashes.SHA1()),
    "sha256": (0x000B, hashes.SHA256()),
    "sha384": (0x000C, hashes.SHA384()),
    "sha512": (0x000D, hashes.SHA512()),
}
ALL_PCRS = tuple(range(24))


@functools.cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Return an RSA key; making one is slow, so each is made once a process."""
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key(number: int = 0, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


def spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


@dataclass(frozen=True)
class FakeTpm:
    """A TPM with one attestation key and 24 registers in each bank."""

    key: PrivateKey
    scheme: str = "RSASSA"
    hash: str = "sha256"
    seed: str = "pcr"

    def pcrs(self, bank: str = "sha256") -> list[bytes]:
        return [hashlib.new(bank, f"{self.seed}{index}".encode()).digest() for index in ALL_PCRS]

    def attest(
        self,
        nonce: bytes,
        *,
        selections: Sequence[tuple[str, Sequence[int]]] = (("sha256", ALL_PCRS),),
        magic: int = 0xFF544347,
        kind: int = 0x8018,
        digest: bytes | None = None,
    ) -> bytes:
        if digest is None:
            values = b"".join(self.pcrs(bank)[index] for bank, chosen in selections for index in sorted(chosen))
            digest = hashlib.new(self.hash, values).digest()
        chosen_bits = b"".join(
            struct.pack(">HB", HASHES[bank][0], 3) + sum(1 << it for it in chosen).to_bytes(3, "little")
            for bank, chosen in selections
        )
        head = struct.pack(">IH", magic, kind) + sized(b"\x00\x0b" + bytes(32)) + sized(nonce)
        clock = struct.pack(">QIIBQ", 1000, 2, 3, 1, 0x2020031200120003)
        return head + clock + struct.pack(">I", len(selections)) + chosen_bits + sized(digest)

    def raw_signature(self, message: bytes) -> bytes:
        algorithm = HASHES[self.hash][1]
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(algorithm)))
            size = (self.key.key_size + 7) // 8
            return sized(r.to_bytes(size)) + sized(s.to_bytes(size))
        if self.scheme == "RSAPSS":
            return self.key.sign(message, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
        return self.key.sign(message, padding.PKCS1v15(), algorithm)

    def signature(self, message: bytes) -> bytes:
        number = {"RSASSA": 0x14, "RSAPSS": 0x16, "ECDSA": 0x18}[self.scheme]
        raw = self.raw_signature(message)
        body = raw if self.scheme == "ECDSA" else sized(raw)
        return struct.pack(">HH", number, HASHES[self.hash][0]) + body

    def evidence(self, nonce: bytes, *, bank: str = "sha256", message: bytes | None = None, **changes: Any) -> bytes:
        """Return the evidence of a plain TPM; *changes* go to :meth:`attest`."""
        signed = self.attest(nonce, **{"selections": ((bank, ALL_PCRS),), **changes}) if message is None else message
        quote = {
            "message": base64.b64encode(signed).decode(),
            "signature": base64.b64encode(self.signature(signed)).decode(),
            "pcrs": [it.hex() for it in self.pcrs(bank)],
        }
        return json.dumps({"ak_public": base64.b64encode(spki(self.key)).decode(), "tpm_quote": quote}).encode()


def runtime_data(key: rsa.RSAPrivateKey, **changes: Any) -> bytes:
    numbers = key.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    ak = {
        "kid": "HCLAkPub",
        "key_ops": ["sign"],
        "kty": "RSA",
        "e": b64url(numbers.e.to_bytes(3)),
        "n": b64url(numbers.n.to_bytes(size)),
    }
    body = {
        "keys": [ak],
        "vm-configuration": {"secure-boot": True, "vmUniqueId": "26F8BC30"},
        "user-data": "00" * 64,
    }
    return json.dumps({**body, **changes}).encode()


def hcl_report(hardware: Callable[[bytes], bytes], runtime: bytes, *, kind: int, padding_bytes: int = 100) -> bytes:
    """Return an HCL report whose hardware report is what *hardware* makes of 64 bytes of report data."""
    report = hardware(hashlib.sha256(runtime).digest().ljust(64, b"\0")).ljust(1184, b"\0")
    size = 32 + len(report) + 20 + len(runtime)
    header = struct.pack("<4sIIII12x", b"HCLA", 2, size, 2, 0)
    words = struct.pack("<IIIII", 20 + len(runtime), 1, kind, 1, len(runtime))
    return header + report + words + runtime + bytes(padding_bytes)


def td_report(report_data: bytes) -> bytes:
    """Return a TDREPORT, which nothing signs, with this *report_data*."""
    return (b"\x81" + bytes(127) + report_data).ljust(1024, b"\0")


@dataclass(frozen=True)
class JwtIssuer:
    """An issuer of tokens."""

    name: str | None
    key: PrivateKey
    kid: str | None = "key-1"
    claims: Mapping[str, Any] = field(default_factory=dict)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        public = self.key.public_key()
        member: dict[str, Any] = {} if self.kid is None else {"kid": self.kid}
        if isinstance(public, rsa.RSAPublicKey):
            rsa_numbers = public.public_numbers()
            size = (rsa_numbers.n.bit_length() + 7) // 8
            member |= {"kty": "RSA", "n": b64url(rsa_numbers.n.to_bytes(size)), "e": b64url(rsa_numbers.e.to_bytes(3))}
        else:
            numbers = public.public_numbers()
            size = (public.key_size + 7) // 8
            curve = {256: "P-256", 384: "P-384", 521: "P-521"}[public.key_size]
            member |= {
                "kty": "EC",
                "crv": curve,
                "x": b64url(numbers.x.to_bytes(size)),
                "y": b64url(numbers.y.to_bytes(size)),
            }
        return {**member, **changes}

    def jwks(self, *others: dict[str, Any]) -> bytes:
        return json.dumps({"keys": [self.jwk(), *others]}).encode()

    def token(self, *, alg: str | None = None, header: Mapping[str, Any] | None = None, **changes: Any) -> bytes:
        """Return a token with the standing claims and *changes*; a claim of ``...`` is left out."""
        algorithm = alg or ("RS256" if isinstance(self.key, rsa.RSAPrivateKey) else f"ES{self.key.key_size}")
        kid = {} if self.kid is None else {"kid": self.kid}
        claims = {**({} if self.name is None else {"iss": self.name}), **self.claims, **changes}
        claims = {name: value for name, value in claims.items() if value is not ...}
        return self.sign({"alg": algorithm, "typ": "JWT", **kid, **(header or {})}, json.dumps(claims).encode())

    def sign(self, header: Mapping[str, Any], payload: bytes, *, secret: bytes = b"") -> bytes:
        signed = f"{b64url(json.dumps(header).encode())}.{b64url(payload)}".encode()
        return signed + b"." + b64url(self._signature(str(header.get("alg")), signed, secret)).encode()

    def _signature(self, algorithm: str, signed: bytes, secret: bytes) -> bytes:
        if algorithm == "none":
            return b""
        digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
        if algorithm.startswith("HS"):
            mac = hmac.HMAC(secret, digest)
            mac.update(signed)
            return mac.finalize()
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            size = (self.key.key_size + 7) // 8
            r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(digest)))
            return r.to_bytes(size) + s.to_bytes(size)
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return self.key.sign(signed, pss if algorithm.startswith("PS") else padding.PKCS1v15(), digest)


def flips(data: bytes, *, spans: Sequence[range] = (), count: int = 200, seed: int = 1) -> Iterator[bytes]:
    """Yield *count* copies of *data*, each with one random bit flipped within *spans* (default: anywhere)."""
    chance = random.Random(seed)
    places = [at for span in spans for at in span] or range(len(data))
    for _ in range(count):
        changed = bytearray(data)
        changed[chance.choice(places)] ^= 1 << chance.randrange(8)
        yield bytes(changed)
