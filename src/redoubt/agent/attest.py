"""An agent's attestation: evidence over the broker's nonce, and the result, checked, before anything else happens.

The steps are RCAR's (``docs/protocol.md``); what the agent adds:

1. The broker is the pinned one: TLS against the pinned CA, and the key that signs results has the pinned id, if one
   was pinned. The manifest is the pinned one, or the one that the broker has in force.
2. The key that secrets are encrypted to is made here, for one program, and never leaves the process. It is the same
   in every renewal, since tickets of the broker are bound to it. So is the key that the agent signs with, which the
   program's statement names, and so the evidence binds.
3. The result is used only after it was verified: by this broker, over this nonce, for this key and this program, of
   simulated evidence exactly if that was asked for.
4. It is renewed before it ends, by a thread; while no broker answers the old one is used as long as it holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.agent.https import Answer, BrokerConnection
from redoubt.errors import (
    AttestationRefused,
    BrokerMessage,
    BrokerUnreachable,
    BrokerUntrusted,
    EarError,
    EarPolicy,
    EarSimulated,
    ManifestMissing,
    RedoubtError,
    SessionExpired,
    SessionUnknown,
)
from redoubt.evidence.claims import JSON, Tee
from redoubt.evidence.collect.attester import Attester, Collected, read_bounded
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.evidence.tokens import Issuer
from redoubt.limits import (
    ATTEST_ATTEMPTS,
    MAX_EVENT_LOG_BYTES,
    REPORT_DATA_BYTES,
)
from redoubt.protocol import rcar
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt.protocol.evidence_body import encode_body
from redoubt.protocol.jwe import Recipient, public_jwk
from redoubt.protocol.key_api import PATH
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.ear import ALGORITHM, issuer_name
from redoubt.trust.ear_verify import AttestationResult, verify_ear
from redoubt.trust.receipt import sign_reported
from redoubt.trust.receipt_values import Reported
from redoubt.trust.signer_key import signer_jwk

_EVENT_LOG: Final = Path("sys/firmware/acpi/tables/data/CCEL")
#: A result is renewed when this part of its life is over, so that there is time for a broker to come back.
_RENEW_AFTER: Final = 0.6
_RETRY_SECONDS: Final = 5.0


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the agent was told of the broker beforehand; None: the broker is believed, since its CA is pinned."""

    broker_id: str | None = None
    manifest: str | None = None
    #: Results of simulated evidence are what is wanted, and nothing else.
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """One verified result, and the key whose holder it speaks of."""

    result: AttestationResult
    token: str = field(repr=False)
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    at: datetime


class AttestedAgent:
    """One program's attestation with its brokers, kept current. Safe for several threads."""

    def __init__(
        self,
        brokers: BrokerConnection,
        attester: Attester,
        *,
        program: rcar.ProgramStatement,
        pins: Pins,
        clock: Callable[[], datetime] = _now,
        say: Callable[[str], None] = lambda _: None,
        root: Path = Path("/"),
    ) -> None:
        self.brokers = brokers
        self._attester = attester
        self._signer = ec.generate_private_key(ec.SECP384R1())
        self._statement = replace(program, signer=signer_jwk(self._signer.public_key()))
        self._pins = pins
        self._clock = clock
        self._say = say
        self._root = root
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._tee: Tee | None = None
        self._current: Attestation | None = None
        self._tokens: list[str] = []
        #: Held while attesting. A result that holds is read without it: a renewal that waits for brokers delays nobody.
        self._attesting = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def current(self) -> Attestation:
        """Return a result that holds now, attesting if there is none.

        Raises:
            BrokerError: the brokers refuse, do not answer, or are not the pinned ones.
            EarError, TokenError: the result is not what was asked for.
            AttestError: this machine gives no evidence.
        """
        found = self._current
        return found if found is not None and self._holds(found) else self.renew(found)

    @property
    def held(self) -> Attestation | None:
        """The newest result, which may have ended; None before the first."""
        return self._current

    def renew(self, used: Attestation | None) -> Attestation:
        """Return another result than *used*, which ends or was not taken; raises as :meth:`current`."""
        with self._attesting:
            found = self._current
            if found is None or found is used or not self._holds(found):
                found = self._current = self._attest()
                self._tokens.append(found.token)
            return found

    def _holds(self, found: Attestation) -> bool:
        return self._clock() < found.result.valid_until

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every result so far, oldest first."""
        return tuple(self._tokens)

    @property
    def statement(self) -> rcar.ProgramStatement:
        """What was attested: program, arguments and the key that this agent signs with."""
        return self._statement

    def sign_report(self, reported: Reported) -> SignedStatement:
        """Sign what this agent reports of its program, and nothing else (hardening H14)."""
        return sign_reported(reported, key=self._signer)

    def keep_current(self) -> None:
        """Renew in the background from now on, until :meth:`close`."""
        self._thread = threading.Thread(target=self._keep, name="redoubt-attest", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the background renewal and forget the key."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(_RETRY_SECONDS)
        self._current = None

    # --- one attestation ----------------------------------------------------------------------------------------------
    def _attest(self) -> Attestation:
        for attempt in range(1, ATTEST_ATTEMPTS + 1):
            try:
                return self._attest_once()
            except (SessionExpired, SessionUnknown):
                # A nonce is good for one answer: when its fate is unknown, a new one is asked for.
                if attempt == ATTEST_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _attest_once(self) -> Attestation:
        issuer, manifest = self._identify()
        auth = rcar.AuthRequest(self._kind().value)
        answer = self.brokers.call("POST", f"{rcar.PATH}/auth", body=auth.encode(), repeatable=True)
        nonce = rcar.Challenge.parse(answer.body).nonce
        request = self._request(nonce)
        cookie = {"Cookie": f"{rcar.SESSION_COOKIE}={_session(answer)}"}
        try:
            answer = self.brokers.call(
                "POST", f"{rcar.PATH}/attest", body=request.encode(), headers=cookie, repeatable=False
            )
        except BrokerUnreachable as lost:
            raise SessionExpired(f"the answer to the attestation was lost: {lost.what}") from None
        token = rcar.AttestResponse.parse(answer.body).token
        now = self._clock()
        result = verify_ear(
            token.encode(),
            issuer=issuer,
            manifest=manifest,
            nonce=nonce,
            now=now,
            accept_warning=True,
            simulated=self._pins.simulated,
        )
        if {it: result.key.get(it) for it in ("kty", "crv", "x", "y")} != _coordinates(request.tee_pubkey.jwk):
            raise EarError("the EAR speaks of another key than this agent's")
        if result.program != self._statement.digest:
            raise EarError("the EAR speaks of another program than this agent's")
        if result.signer != self._statement.signer:
            raise EarError("the EAR names another key for signatures than this agent's")
        return Attestation(result=result, token=token, key=self._key, at=now)

    def _request(self, nonce: bytes) -> rcar.AttestRequest:
        jwk, statement = public_jwk(self._key), self._statement.encode()
        bound = rcar.report_data(nonce=nonce, tee_pubkey=jwk, additional_evidence=statement)
        return rcar.AttestRequest(nonce, Recipient.parse(jwk), self._body(self._attester.collect(bound)), statement)

    def _body(self, collected: Collected) -> JSON:
        log = self._root / _EVENT_LOG
        with_log = collected.tee is Tee.TDX and log.exists()
        return encode_body(collected, event_log=read_bounded(log, limit=MAX_EVENT_LOG_BYTES) if with_log else None)

    def _kind(self) -> Tee:
        """Return the TEE whose name the first message carries: of an interface to several only evidence tells."""
        if self._tee is None:
            kinds = self._attester.tees
            (self._tee,) = kinds if len(kinds) == 1 else (self._attester.collect(bytes(REPORT_DATA_BYTES)).tee,)
        return self._tee

    def _identify(self) -> tuple[Issuer, str]:
        """Return the broker as issuer of results, and the digest of the manifest that it must judge by."""
        answer = self.brokers.call("GET", f"{PATH}/broker", repeatable=True)
        broker = BrokerFacts.parse(answer.body)
        if self._pins.broker_id is not None and broker.id != self._pins.broker_id:
            raise BrokerUntrusted(f"the broker's id is {broker.id}, not the pinned one")
        if broker.simulated and not self._pins.simulated:
            raise EarSimulated("the broker is a development broker, and this agent was not told to accept that")
        if broker.manifest is None:
            raise ManifestMissing("the broker has no manifest in force, so it grants nothing")
        digest = broker.manifest.digest
        if self._pins.manifest is not None and digest != self._pins.manifest:
            raise EarPolicy(f"the broker has the manifest {digest} in force, not the pinned one")
        keys = KeySet((IssuerKey(broker.public_key, kid=broker.id, algorithm=ALGORITHM),))
        return Issuer(keys, issuer_name(broker.name, simulated=self._pins.simulated)), digest

    # --- renewal ------------------------------------------------------------------------------------------------------
    def _keep(self) -> None:
        while not self._closed.wait(self._pause()):
            try:
                self.renew(self._current)
            except RedoubtError as error:
                self._say(f"the attestation was not renewed: {error}")
                if isinstance(error, AttestationRefused) or self._closed.wait(_RETRY_SECONDS):
                    return  # a refusal is an answer: to ask on would only fill the owners' records

    def _pause(self) -> float:
        found = self._current
        if found is None:
            return _RETRY_SECONDS
        due = found.at + _RENEW_AFTER * (found.result.valid_until - found.at)
        return max((due - self._clock()) / timedelta(seconds=1), 0.0)


def _session(answer: Answer) -> str:
    for text in answer.cookies:
        try:
            cookie = SimpleCookie(text).get(rcar.SESSION_COOKIE)
        except CookieError:
            continue
        if cookie is not None and cookie.value.isascii() and cookie.value.isalnum():
            return cookie.value
    raise BrokerMessage("the challenge came without a session")


def _coordinates(jwk: Mapping[str, JSON]) -> dict[str, JSON]:
    return {it: jwk.get(it) for it in ("kty", "crv", "x", "y")}
