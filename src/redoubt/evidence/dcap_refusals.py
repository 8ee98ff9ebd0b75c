"""Which error of Redoubt a refusal of ``dcap-qvl`` is.

``dcap-qvl`` 0.7 raises ValueError with a text. :data:`_TEXTS` maps every text of its verifier; what it does not know
is refused as malformed. "Failed to verify certificate chain" hides the reason: the chain is then looked at again, only
to name the reason. Nothing here can turn a refusal into an acceptance.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from redoubt.errors import (
    EvidenceChain,
    EvidenceCollateral,
    EvidenceDebug,
    EvidenceError,
    EvidenceExpired,
    EvidenceMalformed,
    EvidenceNotYetValid,
    EvidenceRevoked,
    EvidenceSignature,
    EvidenceTcb,
)

if TYPE_CHECKING:
    from cryptography import x509


_PREFIX: Final = "Verification failed: "
_CHAIN: Final = "Failed to verify certificate chain"
#: The first part that occurs in the text decides.
_TEXTS: Final[Sequence[tuple[str, type[EvidenceError]]]] = (
    ("Debug mode is enabled", EvidenceDebug),
    ("TD profiling is enabled", EvidenceDebug),
    ("SERVTD_EXT is enabled", EvidenceTcb),
    ("SEPT_VE_DISABLE is not enabled", EvidenceTcb),
    ("TD migration is enabled", EvidenceTcb),
    ("Reserved bits in TD attributes", EvidenceMalformed),
    ("Invalid MR service TD", EvidenceTcb),
    ("No matching TCB level found", EvidenceTcb),
    ("TDX module", EvidenceTcb),
    ("Revoked", EvidenceRevoked),
    ("expired", EvidenceExpired),
    ("CrlExpired", EvidenceExpired),
    ("CertExpired", EvidenceExpired),
    ("issue date is in the future", EvidenceNotYetValid),
    ("CertNotValidYet", EvidenceNotYetValid),
    ("report signature is invalid", EvidenceSignature),
    ("Signature is invalid for qe_report", EvidenceSignature),
    ("QE report hash mismatch", EvidenceSignature),
    ("Signature is invalid for tcb_info", EvidenceCollateral),
    ("Signature is invalid for qe_identity", EvidenceCollateral),
    ("QE report validation failed", EvidenceTcb),
    ("QE ATTRIBUTES mismatch", EvidenceTcb),
    ("QE MISCSELECT mismatch", EvidenceTcb),
    ("QE Identity", EvidenceCollateral),
    ("QeIdentity", EvidenceCollateral),
    ("mismatch", EvidenceCollateral),
    ("TcbInfo", EvidenceCollateral),
    ("TCB", EvidenceCollateral),
    ("CRL", EvidenceCollateral),
    ("Invalid key length", EvidenceCollateral),
    ("PCK cert", EvidenceChain),
    ("Certificate chain is too short", EvidenceChain),
    ("Intel extension", EvidenceChain),
)


def refusal(text: str, *, chains: Sequence[bytes], crls: Sequence[bytes], now: int) -> EvidenceError:
    """Return the error for a refusal with this *text* at *now* of these *chains* (PEM) and *crls* (DER)."""
    reason = text.removeprefix(_PREFIX)[:200]
    if reason == _CHAIN:
        return _why_chain(chains, crls, datetime.fromtimestamp(now, UTC))
    for part, error in _TEXTS:
        if part in reason:
            return error(f"dcap-qvl: {reason}")
    return EvidenceMalformed(f"dcap-qvl: {reason}")


def _why_chain(chains: Sequence[bytes], crls: Sequence[bytes], now: datetime) -> EvidenceError:
    """Return why a chain may have been refused, as far as its dates and the revocation lists show it."""
    from cryptography import x509

    try:
        certificates = [each for chain in chains for each in x509.load_pem_x509_certificates(chain.rstrip(b"\0"))]
        lists = [x509.load_der_x509_crl(crl) for crl in crls]
        dates = [(each.not_valid_before_utc, each.not_valid_after_utc) for each in certificates]
        ended = any(each.next_update_utc is None or each.next_update_utc <= now for each in lists)
        pairs = [(each.issuer, each.serial_number) for each in certificates]
        on_a_list = any(crl.issuer == issuer and _lists(crl, serial) for issuer, serial in pairs for crl in lists)
    except Exception:  # noqa: BLE001 - damaged certificates raise whatever their reader stumbles on; it is refused anyway
        return EvidenceChain("a certificate or a revocation list does not parse")
    if on_a_list:
        return EvidenceRevoked("a certificate of a chain is on Intel's revocation list")
    if ended or any(end < now for _, end in dates):
        return EvidenceExpired(
            "a certificate of the PCK chain or of a collateral's issuer, or a revocation list, is expired"
        )
    if any(begin > now for begin, _ in dates):
        return EvidenceNotYetValid("a certificate of the PCK chain or of a collateral's issuer is not valid yet")
    return EvidenceChain("the PCK chain, a revocation list or an issuer of collateral does not lead to Intel's root")


def _lists(crl: x509.CertificateRevocationList, serial: int) -> bool:
    return crl.get_revoked_certificate_by_serial_number(serial) is not None
