"""A quote proved by ``dcap-qvl``, whose words about the platform are remembered for the next quote of the enclave.

``dcap-qvl`` verifies in two ways: briefly (status and advisories), or with every detail as JSON, which costs a fifth
more. The details depend on the root, the collateral, and the quote without its report data and the signature over it.
Quotes that differ in nothing else are of one enclave or TD, quoted again, as at every renewal: for those the details
are remembered, and the quote is still verified, with all signatures, revocation lists and dates at the verifier's
time. A verdict is never remembered. What the brief way does not accept goes the long way, which has the last word.
"""

from __future__ import annotations

import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from redoubt.errors import EvidenceError
from redoubt.evidence.dcap_refusals import refusal
from redoubt.evidence.quote import SIGNATURE_BYTES, SIGNATURE_LENGTH_BYTES, Quote
from redoubt.limits import MAX_REMEMBERED_QUOTES, REPORT_DATA_BYTES

if TYPE_CHECKING:
    from dcap_qvl import QuoteCollateralV3, QuotePolicy, QuoteVerifier, VerifiedReport

#: Root, collateral (the object, which the entry keeps alive), and the quote without what changes.
_Key = tuple[bytes | None, "QuoteCollateralV3", bytes]


class _Remembered:
    """Details by key, the latest used; safe for threads."""

    def __init__(self) -> None:
        self._details: OrderedDict[_Key, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> Any:
        with self._lock:
            if key not in self._details:
                return None
            self._details.move_to_end(key)
            return self._details[key]

    def put(self, key: _Key, details: Any) -> None:
        with self._lock:
            self._details[key] = details
            if len(self._details) > MAX_REMEMBERED_QUOTES:
                self._details.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._details.clear()


REMEMBERED: Final = _Remembered()


def prove(
    quote: Quote, collateral: QuoteCollateralV3, *, now: int, root: bytes | None, report_data_at: int
) -> dict[str, Any]:
    """Return what ``dcap-qvl`` proved of *quote* at *now*, as the value of its JSON; not to be changed.

    *root* (DER) replaces Intel's; *report_data_at* is where the report data lies in the quote's body. The report itself
    is not in the result: it is the quote's body.

    Raises:
        EvidenceError: it is refused.
    """
    key = (root, collateral, _lasting(quote, report_data_at))
    details = REMEMBERED.get(key)
    if details is not None:
        report = _brief(quote, collateral, now, root)
        tcb = details["tcb"]
        if report is not None and (report.status, report.advisory_ids) == (tcb["status"], tcb["advisory_ids"]):
            return details  # type: ignore[no-any-return]
    verifier, policy = _verifier(root)
    try:
        claims = verifier.verify_with_policy(quote.canonical, collateral, now, policy(now))
    except ValueError as error:
        raise _refusal(str(error), quote, collateral, now) from error
    found: dict[str, Any] = json.loads(claims.to_json())
    del found["report"]  # this quote's alone; the caller has it, verified, in the quote
    REMEMBERED.put(key, found)
    return found


def _lasting(quote: Quote, report_data_at: int) -> bytes:
    """Return all of *quote* but the report data and the signature over header and body."""
    data, body_end = quote.canonical, len(quote.signed)
    report_data = body_end - len(quote.body) + report_data_at
    signature = body_end + SIGNATURE_LENGTH_BYTES
    return data[:report_data] + data[report_data + REPORT_DATA_BYTES : signature] + data[signature + SIGNATURE_BYTES :]


def _brief(quote: Quote, collateral: QuoteCollateralV3, now: int, root: bytes | None) -> VerifiedReport | None:
    """Return the brief result of *quote*, or None where the long way has to say what is wrong."""
    from dcap_qvl import verify, verify_with_root_ca

    try:
        if root is None:
            return verify(quote.canonical, collateral, now)
        return verify_with_root_ca(quote.canonical, collateral, root, now)
    except ValueError:
        return None


@functools.cache
def _verifier(root: bytes | None) -> tuple[QuoteVerifier, Callable[[int], QuotePolicy]]:
    from dcap_qvl import QuotePolicy, QuoteVerifier

    return QuoteVerifier(root), QuotePolicy.claims_only


def _refusal(text: str, quote: Quote, collateral: QuoteCollateralV3, now: int) -> EvidenceError:
    issuers = (collateral.tcb_info_issuer_chain.encode(), collateral.qe_identity_issuer_chain.encode())
    crls = (bytes(collateral.root_ca_crl), bytes(collateral.pck_crl))
    return refusal(text, chains=(quote.pck_chain, *issuers), crls=crls, now=now)
