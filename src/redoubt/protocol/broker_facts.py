"""What a broker says of itself to anybody: ``GET /redoubt/v1/broker``.

Decides only that the document is one; what of it is true, its reader finds out: the key set by the id that it hashes
to, the audit head by its signature, the manifest by its digest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import BrokerMessage, TokenMalformed
from redoubt.evidence.claims import JSON
from redoubt.evidence.key_set import load_keys
from redoubt.limits import MAX_KEY_API_BYTES, MAX_MANIFEST_VERSION
from redoubt.protocol.messages import check_members, object_member, read_object, text_member, write_object
from redoubt.protocol.rcar import VERSION
from redoubt.trust.broker_key import ALGORITHM, key_id
from redoubt.trust.program import is_digest
from redoubt.trust.signing import SignedManifest

API: Final = "redoubt-broker"
API_VERSION: Final = 1
_MEMBERS: Final = frozenset(
    {
        "api",
        "version",
        "id",
        "name",
        "software",
        "simulated",
        "keys",
        "manifest",
        "audit_head",
        "rcar",
        "tees",
        "attested",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts:
    """The manifest in force."""

    version: int
    digest: str

    @classmethod
    def of(cls, manifest: SignedManifest) -> ManifestFacts:
        """Return the facts of *manifest*."""
        return cls(version=manifest.manifest.version, digest=manifest.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """One broker, or all brokers on one store."""

    id: str
    name: str
    software: str
    #: Whether it issues results of simulated evidence, and nothing else.
    simulated: bool
    public_key: ec.EllipticCurvePublicKey
    manifest: ManifestFacts | None
    #: A signed head of the audit log (:mod:`redoubt.trust.audit_head`).
    audit_head: str
    tees: tuple[str, ...]
    #: Whether it gives evidence of its own (:mod:`redoubt.protocol.broker_evidence`).
    attested: bool

    def encode(self) -> bytes:
        """Return the answer's body."""
        manifest: JSON = None
        if self.manifest is not None:
            manifest = {"version": self.manifest.version, "digest": self.manifest.digest}
        return write_object(
            {
                "api": API,
                "version": API_VERSION,
                "id": self.id,
                "name": self.name,
                "software": self.software,
                "simulated": self.simulated,
                "keys": self.key_set(self.public_key),
                "manifest": manifest,
                "audit_head": self.audit_head,
                "rcar": [VERSION],
                "tees": list(self.tees),
                "attested": self.attested,
            }
        )

    @classmethod
    def parse(cls, body: bytes) -> BrokerFacts:
        """Return the facts in an answer whose id is that of its one key; raises BrokerMessage."""
        what = "the broker's facts"
        found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=_MEMBERS)
        if (found["api"], found["version"]) != (API, API_VERSION):
            raise BrokerMessage(f"what answers is no broker of version {API_VERSION}")
        public_key = _public_key(object_member(found, "keys", what=what))
        if found["id"] != key_id(public_key):
            raise BrokerMessage("the broker's id is not the one of its key")
        tees, simulated, attested = found["tees"], found["simulated"], found["attested"]
        if not isinstance(tees, list) or not isinstance(simulated, bool) or not isinstance(attested, bool):
            raise BrokerMessage(f"{what} have a malformed member")
        return cls(
            id=key_id(public_key),
            name=text_member(found, "name", what=what),
            software=text_member(found, "software", what=what),
            simulated=simulated,
            public_key=public_key,
            manifest=_manifest(found["manifest"]),
            audit_head=text_member(found, "audit_head", what=what),
            tees=tuple(map(str, tees)),
            attested=attested,
        )

    @staticmethod
    def key_set(key: ec.EllipticCurvePublicKey) -> dict[str, JSON]:
        """Return *key* as a JWK set."""
        return {"keys": [BrokerFacts.jwk(key)]}

    @staticmethod
    def jwk(key: ec.EllipticCurvePublicKey) -> dict[str, JSON]:
        """Return *key* as a JWK."""
        from joserfc.jwk import ECKey

        jwk = ECKey.import_key(key).as_dict(private=False)
        members: dict[str, JSON] = {it: str(jwk[it]) for it in ("kty", "crv", "x", "y")}
        return {**members, "kid": key_id(key), "alg": ALGORITHM, "use": "sig"}


def _public_key(key_set: object) -> ec.EllipticCurvePublicKey:
    try:
        loaded = load_keys(json.dumps(dict(key_set) if isinstance(key_set, dict) else {}).encode()).keys
    except TokenMalformed as error:
        raise BrokerMessage(error.what) from None
    if len(loaded) != 1 or not isinstance(loaded[0].key, ec.EllipticCurvePublicKey):
        raise BrokerMessage("the broker's key set does not hold exactly one key that it can sign with")
    return loaded[0].key


def _manifest(value: JSON) -> ManifestFacts | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BrokerMessage("the broker's manifest is no object")
    check_members(value, what="the broker's manifest", members=frozenset({"version", "digest"}))
    version, digest = value["version"], value["digest"]
    if type(version) is not int or not 1 <= version <= MAX_MANIFEST_VERSION:
        raise BrokerMessage("the version of the broker's manifest is none")
    if not isinstance(digest, str) or not is_digest(digest):
        raise BrokerMessage("the digest of the broker's manifest is none")
    return ManifestFacts(version=version, digest=digest)
