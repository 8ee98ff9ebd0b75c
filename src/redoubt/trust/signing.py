"""Signed manifests: who must sign, and what may follow what.

Sources: DSSE 1.0.2 (envelope and pre-authentication encoding), RFC 8032 (Ed25519).

The rules, in the order in which they are applied to a manifest that shall follow *previous*:

1. its version is one more than the previous one's (1 if there is none): never the same, never lower;
2. ``previous`` is the digest of the manifest before;
3. every signature in the envelope is valid, by an owner in the new or the previous manifest, at most one an owner;
4. of every dataset in the new manifest, ``approvals`` of its owners signed, with the keys that it gives them;
5. of every dataset in the *previous* manifest too, with the owners and keys of then: nobody loses a dataset, a vote or
   a key by a manifest that only others signed.

Signatures are over the canonical form with its payload type, so no other signed thing passes for a manifest.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from redoubt.errors import (
    ManifestChain,
    ManifestError,
    ManifestMalformed,
    ManifestRollback,
    ManifestSignature,
    ManifestUnsigned,
)
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64, parse_object
from redoubt.limits import MAX_ENVELOPE_BYTES, MAX_MANIFEST_SIGNATURES
from redoubt.trust.dsse import pae
from redoubt.trust.manifest import canonical, manifest_digest, parse_canonical
from redoubt.trust.policy import Manifest
from redoubt.trust.public_key import parse_public_key, public_key_text

PAYLOAD_TYPE: Final = "application/vnd.redoubt.manifest+json"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A canonical manifest with signatures by public key; nothing in it is trusted yet."""

    payload: bytes
    #: Public key → signature.
    signatures: Mapping[bytes, bytes]

    @classmethod
    def of(cls, manifest: Manifest) -> Envelope:
        """Return an envelope that nobody has signed."""
        return cls(canonical(manifest), {})

    @classmethod
    def parse(cls, text: bytes) -> Envelope:
        """Return the envelope that *text* is; raises ManifestMalformed."""
        body = parse_object(text, what="the signed manifest", limit=MAX_ENVELOPE_BYTES, refusal=ManifestMalformed)
        listed = body.get("signatures")
        if set(body) != {"payload", "payloadType", "signatures"} or not isinstance(listed, list):
            raise ManifestMalformed("the signed manifest is no DSSE envelope")
        if body["payloadType"] != PAYLOAD_TYPE:
            raise ManifestMalformed(f"the envelope does not hold a manifest: its type is not {PAYLOAD_TYPE}")
        if len(listed) > MAX_MANIFEST_SIGNATURES:
            raise ManifestMalformed(f"the envelope holds more than {MAX_MANIFEST_SIGNATURES} signatures")
        signatures: dict[bytes, bytes] = {}
        for it in listed:
            if not isinstance(it, Mapping) or set(it) != {"keyid", "sig"}:
                raise ManifestMalformed("a signature of the envelope is not {keyid, sig}")
            try:
                key = parse_public_key(it["keyid"])
            except ManifestError as error:
                raise ManifestMalformed(f"the key id of a signature {error.what}") from None
            if key in signatures:
                raise ManifestMalformed("the envelope holds two signatures by one key")
            signatures[key] = _bytes(it["sig"], "a signature")
        return cls(_bytes(body["payload"], "the payload"), signatures)

    def encode(self) -> bytes:
        """Return the envelope's text, in one spelling."""
        signatures: list[JSON] = [
            {"keyid": public_key_text(key), "sig": base64.b64encode(self.signatures[key]).decode()}
            for key in sorted(self.signatures)
        ]
        payload = base64.b64encode(self.payload).decode()
        return rfc8785.dumps({"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": signatures})

    def signed(self, key: Ed25519PrivateKey) -> Envelope:
        """Return this envelope with a signature by *key*."""
        signature = key.sign(_to_be_signed(self.payload))
        return Envelope(self.payload, {**self.signatures, key.public_key().public_bytes_raw(): signature})


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest that follows the rules above: only :func:`verify_manifest` makes one."""

    manifest: Manifest
    digest: str
    #: Names of the owners who signed, by this manifest's own names.
    signers: frozenset[str]


def verify_manifest(envelope: Envelope, *, previous: SignedManifest | None) -> SignedManifest:
    """Return the manifest in *envelope* as the successor of *previous* (None: as the first of a history).

    Raises:
        ManifestError: of the class that belongs to the rule.
    """
    manifest = parse_canonical(envelope.payload)
    _check_order(manifest, previous)
    before = previous.manifest if previous is not None else None
    known = {*manifest.owners.values(), *(before.owners.values() if before is not None else ())}
    _check_signatures(envelope, known)
    missing = missing_approvals(manifest, set(envelope.signatures))
    if before is not None:
        missing |= missing_approvals(before, set(envelope.signatures))
    if missing:
        raise ManifestUnsigned("not signed by enough owners: " + "; ".join(sorted(missing)))
    signers = {name for name, key in manifest.owners.items() if key in envelope.signatures}
    return SignedManifest(manifest, manifest_digest(manifest), frozenset(signers))


def missing_approvals(manifest: Manifest, keys: set[bytes]) -> set[str]:
    """Return, in words, the datasets of *manifest* of which too few owners are among the public *keys*."""
    missing = set()
    for name, dataset in manifest.datasets.items():
        signed = {owner for owner in dataset.owners if manifest.owners[owner] in keys}
        if len(signed) < dataset.approvals:
            others = ", ".join(sorted(dataset.owners - signed))
            missing.add(f"dataset {name!r} needs {dataset.approvals - len(signed)} of {others}")
    return missing


def _check_order(manifest: Manifest, previous: SignedManifest | None) -> None:
    expected = 1 if previous is None else previous.manifest.version + 1
    if manifest.version < expected:
        raise ManifestRollback(f"version {manifest.version} is set or superseded; the next is {expected}")
    if manifest.version > expected:
        raise ManifestChain(f"version {manifest.version} leaves out version {expected}")
    if previous is not None and manifest.previous != previous.digest:
        raise ManifestChain(f"`previous` of version {manifest.version} is not the digest of version {expected - 1}")


def _check_signatures(envelope: Envelope, known: set[bytes]) -> None:
    message = _to_be_signed(envelope.payload)
    for key, signature in envelope.signatures.items():
        if key not in known:
            raise ManifestSignature(f"{public_key_text(key)} signed, and is the key of no owner")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise ManifestSignature(f"the signature by {public_key_text(key)} is not over this manifest") from None


def _to_be_signed(payload: bytes) -> bytes:
    return pae(PAYLOAD_TYPE, payload)


def _bytes(value: JSON, what: str) -> bytes:
    return from_base64(value, what=what, refusal=ManifestMalformed)
