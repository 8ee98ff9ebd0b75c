"""What an agent reports of the program that it ran, and the receipt that it gets for it (``docs/receipts.md``).

The agent collects: which results it was given, which datasets it got keys for and at which registered commit, which
commits it registered, when the program began and ended and with which status. A job that is killed with its agent has
no receipt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import rfc8785

from redoubt.agent.attest import Attestation, AttestedAgent
from redoubt.agent.broker_keys import BrokerKeySource
from redoubt.errors import AttesterUnauthenticated, ReceiptTooLarge
from redoubt.evidence.claims import digest as sha256_text
from redoubt.limits import MAX_RECEIPT_FACTS, MAX_RECEIPT_ROLES
from redoubt.trust.receipt_values import Reported
from redoubt.trust.signer_key import thumbprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a program ran."""

    #: Name → version.
    engine: Mapping[str, str]
    started: datetime
    ended: datetime
    status: int


def report(agent: AttestedAgent, attested: Attestation, keys: BrokerKeySource, ran: Ran) -> Reported:
    """Return what *agent*, as it is *attested* now, says of the program that *ran* with the *keys*; ReceiptTooLarge."""
    statement = agent.statement
    if max(len(keys.inputs), len(keys.outputs)) > MAX_RECEIPT_FACTS:
        raise ReceiptTooLarge(f"the job read or wrote more than {MAX_RECEIPT_FACTS} datasets and commits")
    return Reported(
        job=thumbprint(attested.result.key),
        program=statement.digest,
        manifest=attested.result.manifest,
        arguments=sha256_text(rfc8785.dumps(list(statement.arguments))),
        engine=ran.engine,
        started=ran.started,
        ended=max(ran.ended, ran.started),
        status=min(ran.status, 255),
        inputs=keys.inputs,
        outputs=keys.outputs,
        ears=agent.tokens[-MAX_RECEIPT_ROLES:],
    )


def request_receipt(agent: AttestedAgent, keys: BrokerKeySource, ran: Ran) -> bytes:
    """Return the receipt of *ran*, signed by the broker.

    Raises:
        ReceiptError: the broker signs none.
        BrokerError, EarError, TokenError: it cannot be asked, or the agent is attested no more.
    """
    attested = agent.current()
    try:
        return keys.receipt(agent.sign_report(report(agent, attested, keys, ran)), attested)
    except AttesterUnauthenticated:
        # The report holds every result, so the one by which the receipt is asked for must be there before it is signed.
        attested = agent.renew(attested)
        return keys.receipt(agent.sign_report(report(agent, attested, keys, ran)), attested)
