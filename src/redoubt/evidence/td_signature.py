"""Who signed a TD quote, checked without collateral: for Azure's paravisor, and event logs judged by themselves.

Sources: Intel TDX DCAP Quoting Library API, appendix A.3 (quote version 4); Intel SGX PCK Certificate and CRL Profile.

``dcap-qvl`` refuses TDs without SEPT_VE_DISABLE on principle, and older Azure guests are such: there the paravisor and
not the guest handles the faults that the attribute is about. Their evidence also comes without collateral.

Decides that Intel's pinned root certified the platform, the platform Intel's own TD quoting enclave, and that enclave
the attestation key that signed the quote; that TD and enclave are not debug ones; and that no certificate is expired.
It decides nothing about revocation and TCB: who calls it must leave the TCB status unproved, which no policy accepts
unless its owner says so.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from redoubt.errors import (
    EvidenceChain,
    EvidenceDebug,
    EvidenceExpired,
    EvidenceMalformed,
    EvidenceNotYetValid,
    EvidenceSignature,
)
from redoubt.evidence.quote import Body, Quote

#: SHA-256 of the DER of "Intel SGX Root CA", certificates.trustedservices.intel.com/IntelSGXRootCA.der.
INTEL_ROOT_SHA256: Final = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
#: MRSIGNER and ISVPRODID of Intel's TD quoting enclave, as every TD_QE identity that Intel signs states them.
_QE_SIGNER: Final = bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")
_QE_PRODUCT: Final = 2
#: SGX extensions of a PCK certificate: only platform keys have them.
_PCK_EXTENSION: Final = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_CHAIN_LENGTH: Final = 3
#: A certificate is valid through the whole of its last second (RFC 5280, 4.1.2.5).
_ONE_SECOND: Final = timedelta(seconds=1)
_DEBUG_ENCLAVE: Final = 0x02
_TD_ATTRIBUTES: Final = 120
_TD_DEBUG: Final = 0xFF
#: Signature data: signature 64, key 64, certification type 2 and size 4, then the QE report.
_QE_REPORT: Final = slice(134, 134 + 384)
_QE_SIGNATURE: Final = slice(518, 518 + 64)
_QE_AUTH: Final = 582


def check_td_signature(quote: Quote, *, now: datetime, root_sha256: bytes = INTEL_ROOT_SHA256) -> datetime:
    """Return when the chain expires by which the root with this fingerprint certified the platform that signed *quote*.

    Raises:
        EvidenceChain, EvidenceExpired, EvidenceNotYetValid: the certificates do not lead to the root at *now*.
        EvidenceSignature: a signature fails.
        EvidenceDebug: the TD or the quoting enclave is a debug one.
        EvidenceMalformed: the quote is not of a TD.
    """
    if quote.body_kind is not Body.TD10:
        raise EvidenceMalformed("the quote is not a TD quote of version 4")
    data = quote.canonical[len(quote.signed) + 4 :]
    report, auth_size = data[_QE_REPORT], int.from_bytes(data[_QE_AUTH : _QE_AUTH + 2], "little")
    auth = data[_QE_AUTH + 2 : _QE_AUTH + 2 + auth_size]
    platform, ends = _platform_key(quote.pck_chain, now, root_sha256)
    _check(platform, data[_QE_SIGNATURE], report, what="the quoting enclave's report is not signed by the platform")
    if report[128:160] != _QE_SIGNER or int.from_bytes(report[256:258], "little") != _QE_PRODUCT:
        raise EvidenceChain("the quote was signed by another enclave than Intel's TD quoting enclave")
    if report[48] & _DEBUG_ENCLAVE:
        raise EvidenceDebug("the quoting enclave is a debug one")
    bound = hashlib.sha256(data[64:128] + auth).digest().ljust(64, b"\0")
    if not hmac.compare_digest(report[320:384], bound):
        raise EvidenceSignature("the attestation key is not the one that the quoting enclave reported")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + data[64:128])
    except ValueError:
        raise EvidenceSignature("the attestation key is no point of its curve") from None
    _check(key, data[:64], quote.signed, what="the quote is not signed by its attestation key")
    if quote.body[_TD_ATTRIBUTES] & _TD_DEBUG:
        raise EvidenceDebug("the TD is a debug one")
    return ends


def _platform_key(chain: bytes, now: datetime, root_sha256: bytes) -> tuple[ec.EllipticCurvePublicKey, datetime]:
    try:
        certificates = x509.load_pem_x509_certificates(chain.rstrip(b"\0"))
        if len(certificates) != _CHAIN_LENGTH:
            raise EvidenceChain(f"the PCK chain has {len(certificates)} certificates")
        leaf, issuer, root = certificates
        if not hmac.compare_digest(root.fingerprint(hashes.SHA256()), root_sha256):
            raise EvidenceChain("the PCK chain does not end in Intel's root")
        leaf.verify_directly_issued_by(issuer)
        issuer.verify_directly_issued_by(root)
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise EvidenceChain("the issuer of the PCK certificate is no certificate authority")
        leaf.extensions.get_extension_for_oid(_PCK_EXTENSION)
        dates = [(it.not_valid_before_utc, it.not_valid_after_utc) for it in certificates]
        key = leaf.public_key()
    except EvidenceChain:
        raise
    except Exception:  # noqa: BLE001 - damaged certificates raise whatever their reader stumbles on
        raise EvidenceChain("the PCK chain is damaged or not one chain") from None
    last = min(ends for _, ends in dates) + _ONE_SECOND
    if now >= last:
        raise EvidenceExpired("a certificate of the PCK chain is expired")
    if any(now < begins for begins, _ in dates):
        raise EvidenceNotYetValid("a certificate of the PCK chain is not valid yet")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise EvidenceChain("the platform's key is not on P-256")
    return key, last


def _check(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes, *, what: str) -> None:
    r, s = (int.from_bytes(signature[at : at + 32]) for at in (0, 32))
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        raise EvidenceSignature(what) from None
