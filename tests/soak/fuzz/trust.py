"""Targets: what owners write and what brokers hand out."""

from __future__ import annotations

import functools
import json
import tomllib

import rfc8785
from joserfc import jws
from joserfc.jwk import ECKey
from tests.soak.fuzz.engine import Target
from tests.soak.fuzz.mutation import Shape
from tests.trust import receipts, test_appraisal, test_ear, test_manifest
from tests.trust.samples import ALICE, BOB, TOML, manifest, public
from tests.trust.test_receipt import RECEIPT
from tests.trust.test_signing import FIRST

from redoubt.errors import (
    AlreadyExists,
    AppraisalError,
    EarError,
    ManifestError,
    ProgramInvalid,
    ReceiptError,
    RefusalMalformed,
    TokenError,
)
from redoubt.evidence.claims import Tee
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.edit import add_table
from redoubt.trust.explain import explain
from redoubt.trust.manifest import canonical, draft_problems, parse_canonical, parse_manifest
from redoubt.trust.plan import plan
from redoubt.trust.program import ProgramDescriptor
from redoubt.trust.public_key import parse_public_key
from redoubt.trust.receipt import PAYLOAD_TYPE, check_reported
from redoubt.trust.refusal import Refusal
from redoubt.trust.signer_key import signer_jwk, thumbprint
from redoubt.trust.signing import Envelope, verify_manifest

_MANIFEST = (ManifestError,)
_EAR = (TokenError, EarError)
_RECEIPT = (ReceiptError, TokenError, EarError)


def _envelope(data: bytes) -> object:
    return verify_manifest(Envelope.parse(data), previous=None)


def _planned(data: bytes) -> object:
    """A canonical manifest round-trips, and can be planned against another one."""
    read = parse_canonical(data)
    assert canonical(read) == data
    return plan(manifest(), read)


def _explained(data: bytes) -> object:
    record = Refusal.parse(data)
    assert Refusal.parse(record.encode()) == record
    return explain(record)


def _descriptor(data: bytes) -> object:
    read = ProgramDescriptor.parse(data)
    assert ProgramDescriptor.parse(read.canonical()) == read
    return read.digest


def _signed_ear(data: bytes) -> object:
    """What only the broker can send: any claims at all, signed."""
    header, _ = test_ear.parts(_ear())
    key = ECKey.import_key(test_ear.KEY)
    return test_ear.rely(jws.serialize_compact(header, data, key, ["ES384"]).encode())


def _payload(receipt: bytes) -> bytes:
    return SignedStatement.parse(receipt, what="the receipt", limit=len(receipt)).payload


def _signed_receipt(data: bytes) -> object:
    """What only a pinned broker can send: any statement at all, signed."""
    made = SignedStatement.sign(data, payload_type=PAYLOAD_TYPE, key=receipts.BROKER_KEY, key_id=receipts.BROKER)
    return receipts.verify(rfc8785.dumps(made.to_json()))


def _signed_report(data: bytes) -> object:
    """What only an attested agent can send."""
    signer = signer_jwk(receipts.SIGNER.public_key())
    key_id = thumbprint(signer)
    made = SignedStatement.sign(data, payload_type=PAYLOAD_TYPE, key=receipts.SIGNER, key_id=key_id)
    return check_reported(made, signer=signer)


@functools.cache
def _ear() -> bytes:
    return test_ear.issue()


def _public_key(data: bytes) -> object:
    return parse_public_key(data.decode(errors="replace"))


def _records() -> tuple[bytes, ...]:
    found = []
    for evidence, changes in test_appraisal.REFUSED.values():
        try:
            test_appraisal.accept(evidence, **changes)
        except AppraisalError as error:
            found.append(test_appraisal.record(error, tee=Tee(evidence.tee)).encode())
    return tuple(found)


def _edited(data: bytes) -> object:
    """A table is added, and nothing else changes."""
    text = data.decode(errors="replace")
    found = tomllib.loads(add_table(text, ("programs", "added"), {"digest": "sha256:" + "a" * 64}))
    assert found["programs"].pop("added")
    assert found == {"programs": {}, **tomllib.loads(text)}
    return found


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    claims = json.dumps(test_ear.parts(_ear())[1]).encode()
    return (
        Target("manifest-toml", parse_manifest, (TOML.encode(),), _MANIFEST, Shape.TOML, slow=True),
        Target("manifest-draft", draft_problems, (TOML.encode(),), _MANIFEST, Shape.TOML, slow=True),
        Target("manifest-edit", _edited, (TOML.encode(),), (*_MANIFEST, AlreadyExists), Shape.TOML, slow=True),
        Target("manifest-canonical", _planned, (canonical(manifest()),), _MANIFEST, Shape.JSON, slow=True),
        Target("envelope", _envelope, (FIRST.encode(), FIRST.signed(BOB).encode()), _MANIFEST, Shape.JSON, slow=True),
        Target("refusal", _explained, _records(), (RefusalMalformed,), Shape.JSON),
        Target("descriptor", _descriptor, (test_manifest.DESCRIPTOR.canonical(),), (ProgramInvalid,), Shape.JSON),
        Target("ear-relied-on", test_ear.rely, (_ear(),), _EAR, Shape.TOKEN),
        Target("ear-relied-on-signed", _signed_ear, (claims,), _EAR, Shape.JSON, slow=True),
        Target("receipt", receipts.verify, (RECEIPT,), _RECEIPT, Shape.JSON, slow=True),
        Target("receipt-statement", _signed_receipt, (_payload(RECEIPT),), _RECEIPT, Shape.JSON, slow=True),
        Target("receipt-report", _signed_report, (receipts.Job().report().payload,), _RECEIPT, Shape.JSON),
        Target("public-key", _public_key, (public(ALICE).encode(),), _MANIFEST),
    )
