"""Whether a receipt can be relied on: offline, from the receipt, the broker's key and, if given, the owners' manifests.

The rules, all of which must hold:

1. It is of the kind that is asked for: of hardware, or simulated. Neither passes for the other.
2. The broker is a pinned one: by a key of the verifier's, or by the id that the owners' signed manifest gives it.
3. The broker signed all of it, the agent's signed report included.
4. Both parts are of one job, and the report is signed by the key that the job's evidence bound for signatures.
5. Each role is what its attestation result says, and that is authentic and held at the time of the role; the result by
   which the receipt was asked for held at the broker's time. No secret was given to anything that is not a role.
6. What is reported to have been read was released by the broker at that commit, what is reported to have been written
   was registered; program and manifest are the attested ones.
7. The broker's time is that of the audit head which it signed with it, and not in the future.
8. The members that it names are of the job's trust domain (:mod:`redoubt.trust.receipt_domain`).
9. With manifests: each manifest that was applied is one of them, and granted what was given.

If the broker's signature is not over the receipt (3), the other rules are tried all the same: where one place
contradicts another, the error names the fact instead of the signature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import (
    EarError,
    EarPolicy,
    ReceiptBroker,
    ReceiptInput,
    ReceiptJob,
    ReceiptManifest,
    ReceiptOutput,
    ReceiptProgram,
    ReceiptRole,
    ReceiptRoleAdded,
    ReceiptRoleRemoved,
    ReceiptSignature,
    ReceiptSimulated,
    ReceiptTime,
    TokenError,
    TokenExpired,
    TokenMalformed,
)
from redoubt.evidence.claims import digest as sha256_text
from redoubt.evidence.key_set import IssuerKey, KeySet, load_keys
from redoubt.evidence.tokens import Issuer
from redoubt.limits import TOKEN_CLOCK_SKEW_SECONDS
from redoubt.trust.audit_head import AuditHead, verify_head
from redoubt.trust.broker_key import ALGORITHM, key_id
from redoubt.trust.ear import SIMULATED_ISSUER
from redoubt.trust.ear_verify import AttestationResult, verify_ear
from redoubt.trust.policy import Action
from redoubt.trust.receipt import Receipt, check_reported, subject_of
from redoubt.trust.receipt_domain import check_members
from redoubt.trust.receipt_grants import check_granted
from redoubt.trust.receipt_proved import Proved
from redoubt.trust.receipt_values import Reported, Role
from redoubt.trust.signer_key import thumbprint
from redoubt.trust.signing import SignedManifest

_SKEW: Final = timedelta(seconds=TOKEN_CLOCK_SKEW_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """What a verifier trusts beforehand."""

    #: Ids of brokers' keys (:func:`redoubt.trust.broker_key.key_id`); what manifests name comes on top.
    brokers: frozenset[str] = frozenset()
    #: The owners' manifests, verified, oldest first; none: they are not compared.
    manifests: Sequence[SignedManifest] = ()
    #: Receipts of a development broker are what is wanted, and nothing else.
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """A receipt that can be relied on: only :func:`verify_receipt` makes one."""

    broker: str
    simulated: bool
    proved: Proved
    reported: Reported
    #: What each role's attestation result says, in the order of the roles.
    results: tuple[AttestationResult, ...]
    audit: AuditHead
    #: The manifest that was in force at the end, if the verifier was given it.
    manifest: SignedManifest | None


def verify_receipt(text: bytes, *, trusted: Trusted, now: datetime) -> VerifiedReceipt:
    """Return the receipt in *text* by the rules above.

    Raises:
        ReceiptError: of the class that belongs to the rule.
        TokenError, EarError: an attestation result or the audit head in it is not authentic.
    """
    receipt = Receipt.parse(text)
    if receipt.simulated is not trusted.simulated:
        kind = "of a development broker" if receipt.simulated else "of hardware"
        raise ReceiptSimulated(f"the receipt is {kind}, which is not what was asked for")
    key = _broker_key(receipt, trusted)
    try:
        receipt.envelope.check(key, refusal=ReceiptSignature, what="the receipt")
    except ReceiptSignature:
        _verify_content(receipt, key, trusted, now)
        raise
    return _verify_content(receipt, key, trusted, now)


def _broker_key(receipt: Receipt, trusted: Trusted) -> ec.EllipticCurvePublicKey:
    named = {broker for it in trusted.manifests for broker in it.manifest.brokers.values()}
    pinned = trusted.brokers | named
    if not pinned:
        raise ReceiptBroker(
            "no broker is pinned: no key was given, and no manifest names a broker",
            hint="Pass the broker's key with --broker-key, or manifests with [brokers.NAME].",
        )
    try:
        (found,) = load_keys(json.dumps(dict(receipt.proved.key)).encode()).keys
    except (TokenMalformed, ValueError) as error:
        raise ReceiptBroker(f"the receipt holds no key of a broker: {error}") from None
    if not isinstance(found.key, ec.EllipticCurvePublicKey) or not isinstance(found.key.curve, ec.SECP384R1):
        raise ReceiptBroker("the receipt's key is not one that brokers sign with")
    if key_id(found.key) != receipt.envelope.key_id:
        raise ReceiptBroker("the receipt is signed by another broker than the one whose key is in it")
    if receipt.envelope.key_id not in pinned:
        raise ReceiptBroker(f"the receipt is of the broker {receipt.envelope.key_id}, which is not pinned")
    return found.key


def _verify_content(
    receipt: Receipt, key: ec.EllipticCurvePublicKey, trusted: Trusted, now: datetime
) -> VerifiedReceipt:
    proved, reported = receipt.proved, receipt.reported
    if reported.job != proved.job:
        raise ReceiptJob(f"the proved part is of the job {proved.job}, the reported part of {reported.job}")
    if proved.issuer.startswith(SIMULATED_ISSUER) is not receipt.simulated:
        raise ReceiptSimulated("the receipt's issuer is not one of its kind")
    issuer = Issuer(KeySet((IssuerKey(key, key_id(key), ALGORITHM),)), proved.issuer)
    tokens = {sha256_text(it.encode()): it for it in reported.ears}
    results = tuple(_role(it, tokens, issuer, receipt) for it in proved.roles)
    asking = _check_used(proved, results)
    _check_facts(receipt, results)
    audit = _check_times(receipt, asking, issuer.keys, now)
    check_members(proved, newest=audit.end.number, manifests=trusted.manifests)
    check_reported(receipt.report, signer=asking.signer)
    manifest = _check_manifests(proved, results, trusted.manifests) if trusted.manifests else None
    return VerifiedReceipt(
        broker=receipt.envelope.key_id,
        simulated=receipt.simulated,
        proved=proved,
        reported=reported,
        results=results,
        audit=audit,
        manifest=manifest,
    )


def _role(role: Role, tokens: Mapping[str, str], issuer: Issuer, receipt: Receipt) -> AttestationResult:
    """Return the attestation result of *role*, which says the same as it."""
    token = tokens.get(role.token)
    if token is None:
        raise ReceiptRoleAdded(f"the role {role.ear} has no attestation result in the receipt")
    try:
        found = verify_ear(
            token.encode(),
            issuer=issuer,
            manifest=role.manifest,
            nonce=None,
            now=role.at,
            accept_warning=True,
            simulated=receipt.simulated,
        )
    except EarPolicy:
        raise ReceiptManifest(
            f"the role {role.ear} was appraised under another manifest than {role.manifest}"
        ) from None
    except TokenExpired:
        raise ReceiptTime(f"the attestation result of the role {role.ear} had ended at the role's time") from None
    except (TokenError, EarError) as error:
        raise type(error)(f"the attestation result of the role {role.ear}: {error.what}") from None
    if thumbprint(found.key) != receipt.proved.job:
        raise ReceiptJob(f"the role {role.ear} is of another job")
    if found.program != role.program:
        raise ReceiptProgram(f"the role {role.ear} was attested as the program {found.program}, not {role.program}")
    same = (found.token_id, found.tee, found.binding, found.evidence)
    if same != (str(role.ear), role.tee, role.binding, role.evidence):
        raise ReceiptRole(f"TEE, binding level or evidence of the role {role.ear} are not those that were attested")
    return found


def _check_used(proved: Proved, results: Sequence[AttestationResult]) -> AttestationResult:
    """Return the result by which the receipt was asked for; whatever was used must be a role."""
    by_id = {UUID(it.token_id): it for it in results}
    used = {proved.ear, *(it.ear for it in proved.commits)}
    used.update(ear for release in proved.releases for ear in release.ears)
    used.update(ear for resource in proved.resources for ear in resource.ears)
    if missing := used - set(by_id):
        raise ReceiptRoleRemoved(f"something was given to {min(missing)}, which is no role of the receipt")
    if len(by_id) != len(results):
        raise ReceiptRoleAdded("one attestation result stands for two roles")
    if unused := set(by_id) - used:
        raise ReceiptRoleAdded(f"nothing was given to the role {min(unused)}")
    return by_id[proved.ear]


def _check_facts(receipt: Receipt, results: Sequence[AttestationResult]) -> None:
    proved, reported = receipt.proved, receipt.reported
    if strange := {it.program for it in results} - {reported.program}:
        raise ReceiptProgram(f"reported is the program {reported.program}; attested was {min(strange)}")
    if reported.manifest not in {it.manifest for it in proved.roles}:
        raise ReceiptManifest(f"reported is the manifest {reported.manifest}, under which no role was appraised")
    read = {(it.dataset, it.head) for it in proved.releases if it.action is Action.READ}
    for it in reported.inputs:
        if (it.dataset, it.head) not in read:
            raise ReceiptInput(f"no key of {it.dataset} was released at the reported commit {_commit(it.head)}")
    written = {(it.dataset, it.head) for it in proved.commits}
    for it in reported.outputs:
        if (it.dataset, it.head) not in written:
            raise ReceiptOutput(
                f"the reported commit {_commit(it.head)} of {it.dataset} was not registered by this job"
            )
    if receipt.subject != subject_of(proved, program=reported.program):
        raise ReceiptOutput("the receipt's subject is not what the job registered")


def _commit(head: object) -> str:
    return str(getattr(head, "digest", "(none)"))


def _check_times(receipt: Receipt, asking: AttestationResult, keys: KeySet, now: datetime) -> AuditHead:
    proved, reported = receipt.proved, receipt.reported
    if proved.at > now + _SKEW:
        raise ReceiptTime(f"the broker's time {proved.at.isoformat()} lies in the future")
    audit = verify_head(proved.audit.encode(), keys=keys, now=now)
    if audit.at != proved.at:
        raise ReceiptTime(
            f"the broker's time is {proved.at.isoformat()}, and that of its audit head {audit.at.isoformat()}"
        )
    if asking.valid_until <= proved.at:
        raise ReceiptTime("the attestation result by which the receipt was asked for had ended at the broker's time")
    rows = [(it.at, it.row) for it in proved.roles] + [(it.at, it.row) for it in proved.commits]
    if any(at > proved.at or row > audit.end.number for at, row in rows):
        raise ReceiptTime("a role or a commit is younger than the receipt")
    if reported.ended < reported.started or reported.ended > proved.at + _SKEW:
        raise ReceiptTime("the program ended before it started, or after the broker signed")
    return audit


def _check_manifests(
    proved: Proved, results: Sequence[AttestationResult], manifests: Sequence[SignedManifest]
) -> SignedManifest:
    """Return the manifest of the last role; every one that was applied is known, names the broker, granted it all."""
    known = {it.digest: it for it in manifests}
    for it in proved.roles:
        if it.manifest not in known:
            raise ReceiptManifest(f"the manifest {it.manifest} was applied, and is none of the {len(known)} given")
    by_id = {UUID(it.token_id): it for it in results}
    check_granted(proved.releases, proved.commits, by_id, known)
    return known[proved.roles[-1].manifest]
