"""Intel eHSM-KMS as an attestation service, which is archived upstream: what it says of a quote, and its own quote.

Source: "eHSM REST API Reference" (intel/ehsm, docs/API_Reference.md): UploadQuotePolicy, VerifyQuote, GenerateQuote.
Its answer to VerifyQuote carries the caller's nonce and an HMAC under the application's API key, so that it convinces
whoever asked, and nobody else: a result of this kind is never passed on.

Decides that the answer is signed with the API key, carries the nonce, says yes, and speaks of the measurements that the
quote has; the quote's debug attribute and report data are read here, whatever the service thinks of them. It gives no
TCB status: the service says yes to platforms that need an update, too. Where collateral is at hand,
:mod:`redoubt.evidence.dcap` proves more.

The service's own quote is verified here, and must carry the challenge in its report data. The last published
eHSM-KMS leaves that empty, so that its quote proves nothing about this conversation and is refused.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from redoubt.crypto.strict_json import JSON, from_base64
from redoubt.errors import (
    EvidenceDebug,
    EvidenceError,
    EvidenceMalformed,
    EvidenceUnbound,
    ProviderAnswerInvalid,
    TokenMalformed,
    TokenSignature,
    TokenUnbound,
    UsageError,
)
from redoubt.evidence import dcap
from redoubt.evidence.claims import Expected, ResultKind, Tee, Verified, check_report_data, digest, refuse_nonce
from redoubt.evidence.quote import Body, parse_quote
from redoubt.keys.ehsm_wire import EhsmClient, sign
from redoubt.limits import REPORT_DATA_BYTES

_SGX_DEBUG: Final = 0x02
_NONCE_BYTES: Final = 32
_MEASUREMENT_BYTES: Final = 32
_NAMES: Final = frozenset({"result", "nonce", "mr_enclave", "mr_signer", "sign"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """The enclave that is expected: MRENCLAVE and MRSIGNER, 32 bytes each."""

    mrenclave: bytes
    mrsigner: bytes

    def __post_init__(self) -> None:
        if len(self.mrenclave) != _MEASUREMENT_BYTES or len(self.mrsigner) != _MEASUREMENT_BYTES:
            raise UsageError(f"measurements have {_MEASUREMENT_BYTES} bytes")


class AttestationService:
    """Asks an eHSM about quotes, with a nonce of its own for each."""

    def __init__(self, client: EhsmClient) -> None:
        """Use *client*."""
        self._client = client

    def upload_policy(self, measurements: Measurements) -> UUID:
        """Let the service keep a policy and return its id.

        Raises:
            KeyError_: the service cannot be reached, refuses, or does not answer as it must.
        """
        wanted = {"mr_enclave": measurements.mrenclave.hex(), "mr_signer": measurements.mrsigner.hex()}
        policy = self._client.call("UploadQuotePolicy", wanted).get("policyId")
        try:
            return UUID(policy if isinstance(policy, str) else "")
        except ValueError:
            raise ProviderAnswerInvalid("the service named no policy that it keeps") from None

    def verify_quote(
        self, quote: bytes, *, policy: UUID | None, measurements: Measurements, expected: Expected
    ) -> Verified:
        """Return what the service says of an SGX *quote*, checked against *measurements* and *expected*.

        *policy* is one that the service keeps, and only an addition: the measurements are compared here.

        Raises:
            KeyError_: the service cannot be reached, refuses, or does not answer as it must.
            TokenError, EvidenceError: the answer is not authentic or not fresh, or the quote is not good.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        payload = {"quote": base64.b64encode(quote).decode(), "nonce": base64.b64encode(nonce).decode()}
        if policy is not None:
            payload["policyId"] = str(policy)
        result = self._client.call("VerifyQuote", payload)
        return check_answer(
            result,
            quote=quote,
            nonce=nonce,
            api_key=self._client.api_key(),
            measurements=measurements,
            expected=expected,
        )

    def own_quote(
        self,
        *,
        measurements: Measurements,
        collateral: dcap.DcapCollateral,
        now: datetime,
        root: bytes | None = None,
    ) -> Verified:
        """Return the claims of the service's own quote over a fresh challenge; *root* replaces Intel's in tests.

        Raises:
            KeyError_: the service cannot be reached, refuses, or does not answer as it must.
            EvidenceError: the quote is not good, not of this enclave, or not over the challenge.
        """
        challenge = secrets.token_bytes(_NONCE_BYTES)
        spelt = base64.b64encode(challenge).decode()
        result = self._client.call("GenerateQuote", {"challenge": spelt})
        if result.get("challenge") != spelt:
            raise EvidenceUnbound("the service answered another challenge")
        quote = from_base64(result.get("quote"), what="the quote of the service", refusal=EvidenceMalformed)
        verified = dcap.verify(quote, tee=Tee.SGX, collateral=collateral, expected=Expected(), now=now, root=root)
        _check_measurements(verified.claims, "sgx", measurements)
        bound = {it.ljust(REPORT_DATA_BYTES, b"\0") for it in (challenge, sha256(challenge).digest())}
        if verified.report_data not in bound:
            raise EvidenceUnbound(
                "the service's quote does not carry the challenge",
                hint="The last published eHSM-KMS leaves its report data empty; only a build that fills it can pass.",
            )
        return verified


def check_answer(
    result: Mapping[str, JSON],
    *,
    quote: bytes,
    nonce: bytes,
    api_key: str,
    measurements: Measurements,
    expected: Expected,
) -> Verified:
    """Return what an answer to VerifyQuote says of *quote*, if it is authentic, fresh and good.

    Raises:
        TokenMalformed, TokenSignature, TokenUnbound: the answer is none, not signed with the key, or stale.
        EvidenceError: the service says no, or the quote is a debug enclave's, another one's, or bound elsewhere.
    """
    _check_signature(result, api_key)
    if not hmac.compare_digest(str(result["nonce"]).encode(), base64.b64encode(nonce)):
        raise TokenUnbound("the answer of the service carries another nonce")
    if result["result"] is not True:
        raise EvidenceError("the service says that the quote is not genuine, or not what the policy allows")
    parsed = parse_quote(quote)
    if parsed.body_kind is not Body.SGX:
        raise EvidenceMalformed("the quote is not of the TEE sgx")
    raw = dcap.raw_fields(parsed)
    if raw["attributes"][0] & _SGX_DEBUG:
        raise EvidenceDebug("the quote is a debug enclave's")
    claims: dict[str, JSON] = {f"ehsm.{name}": value.hex() for name, value in raw.items()}
    _check_measurements(claims, "ehsm", measurements)
    for said, name in (("mr_enclave", "mrenclave"), ("mr_signer", "mrsigner")):
        if said in result and result[said] != claims[f"ehsm.{name}"]:
            raise EvidenceUnbound(f"the answer of the service speaks of another {name} than the quote")
    refuse_nonce(expected)
    check_report_data(raw["report_data"], expected=expected)
    return Verified(
        tee=ResultKind.EHSM,
        claims=claims,
        report_data=raw["report_data"],
        tcb_status=None,
        advisories=(),
        evidence_digest=digest(parsed.signed),
        valid_until=None,
    )


def _check_signature(result: Mapping[str, JSON], api_key: str) -> None:
    if not {"result", "nonce", "sign"} <= set(result) <= _NAMES:
        raise TokenMalformed("the answer of the service is not one to VerifyQuote")
    values = {name: value for name, value in result.items() if name != "sign"}
    signature, texts = result["sign"], [value for name, value in values.items() if name != "result"]
    # Values stand unescaped in the signed text: a nonce with a separator could carry a "result" of its own.
    plain = [value for value in texts if isinstance(value, str) and not set(value.rstrip("=")) & {"&", "="}]
    if not isinstance(signature, str) or type(values["result"]) is not bool or len(plain) != len(texts):
        raise TokenMalformed("the answer of the service has a field of another type")
    signed = {name: value for name, value in values.items() if isinstance(value, str | bool)}
    if not hmac.compare_digest(signature.encode(), sign(api_key, signed).encode()):
        raise TokenSignature("the answer of the service is not signed with the application's API key")


def _check_measurements(claims: Mapping[str, JSON], prefix: str, expected: Measurements) -> None:
    for name, value in (("mrenclave", expected.mrenclave), ("mrsigner", expected.mrsigner)):
        if claims[f"{prefix}.{name}"] != value.hex():
            raise EvidenceUnbound(f"the quote's {name} is not the expected one")
