"""AMD's certificates: from a chip's or a cloud's endorsement key to the pinned roots.

Source: AMD publication 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification" 1.00,
and its VLEK counterpart. Signatures are RSASSA-PSS with SHA-384, MGF1 over SHA-384 and 48 bytes of salt.

Roots (ARK) are pinned by the SHA-256 of their SubjectPublicKeyInfo. Where the caller presents no intermediate (Azure's
evidence carries the VCEK alone), the pinned public key of AMD's intermediate stands in for it; both pins are AMD's
public facts, in ``amd_keys.json``, and a test checks that the pinned intermediates are the ones that the roots signed.
"""

from __future__ import annotations

import base64
import functools
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from redoubt.errors import (
    EvidenceChain,
    EvidenceCollateral,
    EvidenceError,
    EvidenceExpired,
    EvidenceNotYetValid,
    EvidenceRevoked,
    EvidenceUnprovable,
)
from redoubt.evidence.snp_report import TCB_LAYOUT, Product, Signer
from redoubt.limits import MAX_CERTIFICATE_BYTES, MAX_COLLATERAL_BYTES, MAX_SNP_CERTIFICATES

# AMD gives every VCEK the serial number zero, which cryptography 50 deplores at each load. Filtered once and for this
# room only: warnings.catch_warnings is not safe among threads.
warnings.filterwarnings("ignore", message="Parsed a serial number", module=r"redoubt\.evidence\.")
_OID: Final = "1.3.6.1.4.1.3704.1."
_PRODUCT_OID: Final = x509.ObjectIdentifier(_OID + "2")
_HARDWARE_ID_OID: Final = x509.ObjectIdentifier(_OID + "4")
_CSP_OID: Final = x509.ObjectIdentifier(_OID + "5")
_TCB_OIDS: Final = {
    "bootloader": x509.ObjectIdentifier(_OID + "3.1"),
    "tee": x509.ObjectIdentifier(_OID + "3.2"),
    "snp": x509.ObjectIdentifier(_OID + "3.3"),
    "microcode": x509.ObjectIdentifier(_OID + "3.8"),
    "fmc": x509.ObjectIdentifier(_OID + "3.9"),
}
_LEAF_NAMES: Final = {"SEV-VCEK": Signer.VCEK, "SEV-VLEK": Signer.VLEK}
_INTERMEDIATE: Final = {Signer.VCEK: "SEV-{}", Signer.VLEK: "SEV-VLEK-{}"}
_HARDWARE_ID_BYTES: Final = {Product.MILAN: 64, Product.GENOA: 64, Product.TURIN: 8}
_IA5_STRING: Final = 0x16
_INTEGER: Final = 0x02
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Pins:
    """Keys that are trusted from the start."""

    #: Product → SHA-256 (hex) of the root's SubjectPublicKeyInfo.
    roots: Mapping[Product, str]
    #: (product, signer) → SubjectPublicKeyInfo of the intermediate.
    intermediates: Mapping[tuple[Product, Signer], bytes]


@dataclass(frozen=True, slots=True)
class EndorsementKey:
    """A VCEK or VLEK that leads to AMD, with what its certificate says."""

    key: ec.EllipticCurvePublicKey
    signer: Signer
    product: Product
    #: The product with its stepping, as the certificate names it ("Milan-B0").
    product_name: str
    #: The chip (VCEK only).
    hardware_id: bytes | None
    #: The cloud (VLEK only).
    csp_id: str | None
    tcb: Mapping[str, int]
    #: Whether the intermediate was presented and checked to its root, or is the pinned one.
    presented: bool
    valid_until: datetime


@functools.cache
def amd_pins() -> Pins:
    """Return AMD's pinned keys."""
    data = json.loads(files("redoubt.evidence").joinpath("amd_keys.json").read_bytes())
    return Pins(
        {Product(name): pin for name, pin in data["roots"].items()},
        {
            (Product(entry["product"]), Signer[entry["signer"]]): base64.b64decode(entry["spki"])
            for entry in data["intermediates"]
        },
    )


def load_certificates(blobs: Sequence[bytes]) -> list[x509.Certificate]:
    """Return the certificates in *blobs*, each DER or concatenated PEM. Raises EvidenceChain."""
    found: dict[bytes, x509.Certificate] = {}
    for blob in blobs:
        if len(blob) > MAX_CERTIFICATE_BYTES * MAX_SNP_CERTIFICATES:
            raise EvidenceChain("a certificate file is too large")
        try:
            pem = b"-----BEGIN" in blob
            loaded = x509.load_pem_x509_certificates(blob) if pem else [x509.load_der_x509_certificate(blob)]
        except (ValueError, x509.InvalidVersion) as error:
            raise EvidenceChain("a certificate is neither DER nor PEM") from error
        found.update((sha256(each.public_bytes(serialization.Encoding.DER)).digest(), each) for each in loaded)
    if len(found) > MAX_SNP_CERTIFICATES:
        raise EvidenceChain(f"more than {MAX_SNP_CERTIFICATES} certificates were presented")
    return list(found.values())


def verify_chain(blobs: Sequence[bytes], *, revocation_list: bytes | None, now: datetime, pins: Pins) -> EndorsementKey:
    """Return the one endorsement key among the certificates in *blobs*, verified to *pins* at *now*.

    Raises:
        EvidenceUnprovable: there is none.
        EvidenceChain: it does not lead to AMD, or is not what AMD issues.
        EvidenceExpired, EvidenceNotYetValid: a certificate or the revocation list is not valid at *now*.
        EvidenceRevoked: AMD revoked the intermediate.
        EvidenceCollateral: the revocation list is not AMD's.
    """
    try:
        return _verify_chain(load_certificates(blobs), revocation_list, now, pins)
    except EvidenceError:
        raise
    except Exception:  # noqa: BLE001 - names and extensions are read late, and raise whatever their reader stumbles on
        raise EvidenceChain("a certificate is damaged or not of AMD's profile") from None


def _verify_chain(
    certificates: list[x509.Certificate], revocation_list: bytes | None, now: datetime, pins: Pins
) -> EndorsementKey:
    leaves = [(each, _LEAF_NAMES[_name(each)]) for each in certificates if _name(each) in _LEAF_NAMES]
    if not leaves:
        raise EvidenceUnprovable("no VCEK or VLEK certificate was presented")
    if len(leaves) > 1:
        raise EvidenceChain("several endorsement keys were presented")
    leaf, signer = leaves[0]
    product_name = _ia5(leaf, _PRODUCT_OID)
    product = next((each for each in Product if product_name.partition("-")[0] == each), None)
    if product is None or product not in pins.roots:
        raise EvidenceChain(f"the certificate is of an unknown product {product_name!r}")
    issuer_name = _INTERMEDIATE[signer].format(product)
    if _common_name(leaf.issuer) != issuer_name:
        raise EvidenceChain(f"the endorsement key was not issued by {issuer_name}")
    used = [leaf]
    intermediate = _one(certificates, issuer_name)
    if intermediate is not None:
        used += [intermediate, _verified_root(certificates, intermediate, product, pins)]
        if leaf.issuer != intermediate.subject:
            raise EvidenceChain("the endorsement key names another issuer than the intermediate")
        issuer_key = intermediate.public_key()
    elif (product, signer) in pins.intermediates:
        issuer_key = serialization.load_der_public_key(pins.intermediates[product, signer])  # type: ignore[assignment]
    else:
        raise EvidenceUnprovable(f"the certificate of {issuer_name} was not presented")
    _check_signature(leaf, issuer_key)
    _check_dates(used, now)
    if revocation_list is not None:
        _check_revocation(revocation_list, used, now)
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EvidenceChain("the endorsement key is not on P-384")
    return EndorsementKey(
        key=key,
        signer=signer,
        product=product,
        product_name=product_name,
        hardware_id=_hardware_id(leaf, product) if signer is Signer.VCEK else None,
        csp_id=_ia5(leaf, _CSP_OID) if signer is Signer.VLEK else None,
        tcb={name: _integer(leaf, _TCB_OIDS[name]) for name in TCB_LAYOUT[product]},
        presented=intermediate is not None,
        valid_until=min(each.not_valid_after_utc for each in used) + _SECOND,
    )


def _verified_root(
    certificates: list[x509.Certificate], intermediate: x509.Certificate, product: Product, pins: Pins
) -> x509.Certificate:
    root = _one(certificates, f"ARK-{product}")
    if root is None:
        raise EvidenceUnprovable(f"the root ARK-{product} was not presented")
    spki = root.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if sha256(spki).hexdigest() != pins.roots[product]:
        raise EvidenceChain(f"the root is not AMD's ARK-{product}")
    if intermediate.issuer != root.subject:
        raise EvidenceChain("the intermediate names another issuer than the root")
    _check_signature(root, root.public_key())
    _check_signature(intermediate, root.public_key())
    constraints = intermediate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca:
        raise EvidenceChain("the intermediate is no certificate authority")
    return root


def _check_signature(certificate: x509.Certificate, key: object) -> None:
    if not isinstance(key, rsa.RSAPublicKey) or not isinstance(certificate.signature_hash_algorithm, hashes.SHA384):
        raise EvidenceChain("a certificate is not signed with RSA-PSS and SHA-384")
    der, signed = certificate.public_bytes(serialization.Encoding.DER), certificate.tbs_certificate_bytes
    # What stands between the signed part and the signature is signed by nobody: RFC 5280, 4.1.1.2, wants it repeated.
    length = len(certificate.signature)
    end = b"\x03\x82" + (length + 1).to_bytes(2, "big") + b"\0" + certificate.signature
    outer = der[der.index(signed) + len(signed) : len(der) - len(end)]
    if not der.endswith(end) or not outer or outer not in signed:
        raise EvidenceChain(f"the certificate {_name(certificate)} states two signature algorithms")
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, pss, hashes.SHA384())
    except InvalidSignature:
        raise EvidenceChain(f"the certificate {_name(certificate)} is not signed by its issuer") from None


def _check_dates(certificates: Sequence[x509.Certificate], now: datetime) -> None:
    for each in certificates:
        if now > each.not_valid_after_utc:
            raise EvidenceExpired(f"the certificate {_name(each)} is expired")
        if now < each.not_valid_before_utc:
            raise EvidenceNotYetValid(f"the certificate {_name(each)} is not valid yet")


def _check_revocation(data: bytes, used: Sequence[x509.Certificate], now: datetime) -> None:
    """Check AMD's list, which the root signs and which names intermediates; every VCEK has the same serial number."""
    if len(used) == 1:
        raise EvidenceCollateral("a revocation list can be checked only where the root is presented")
    _, intermediate, root = used
    if len(data) > MAX_COLLATERAL_BYTES:
        raise EvidenceCollateral("the revocation list is too large")
    try:
        crl = x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
        issued, ends = crl.last_update_utc, crl.next_update_utc
        revoked = crl.get_revoked_certificate_by_serial_number(intermediate.serial_number) is not None
        root_key = root.public_key()
        if not isinstance(root_key, rsa.RSAPublicKey) or crl.issuer != root.subject:
            raise EvidenceCollateral("the revocation list is not of this root")
        pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
        root_key.verify(crl.signature, crl.tbs_certlist_bytes, pss, hashes.SHA384())
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion):
        raise EvidenceCollateral("the revocation list is damaged or not signed by the root") from None
    if ends is None or now > ends:
        raise EvidenceExpired("AMD's revocation list is expired")
    if now < issued:
        raise EvidenceNotYetValid("AMD's revocation list is not valid yet")
    if revoked:
        raise EvidenceRevoked(f"AMD revoked {_name(intermediate)}")


def _one(certificates: list[x509.Certificate], name: str) -> x509.Certificate | None:
    found = [each for each in certificates if _name(each) == name]
    if len(found) > 1:
        raise EvidenceChain(f"several certificates of {name} were presented")
    return found[0] if found else None


def _name(certificate: x509.Certificate) -> str:
    return _common_name(certificate.subject)


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes:
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        raise EvidenceChain(f"the endorsement key's certificate lacks the extension {oid.dotted_string}") from None
    if not isinstance(value, x509.UnrecognizedExtension):
        raise EvidenceChain(f"the extension {oid.dotted_string} is not AMD's")
    return value.value


def _ia5(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    return _der(_extension(certificate, oid), _IA5_STRING).decode("ascii")


def _integer(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> int:
    return int.from_bytes(_der(_extension(certificate, oid), _INTEGER), "big")


def _der(data: bytes, tag: int) -> bytes:
    """Return the content of one short DER value, which is all that AMD's extensions hold."""
    if len(data) < 3 or data[0] != tag or data[1] > 0x7F or len(data) != 2 + data[1]:
        raise EvidenceChain("an extension of the endorsement key's certificate is not in AMD's encoding")
    return data[2:]


def _hardware_id(certificate: x509.Certificate, product: Product) -> bytes:
    value = _extension(certificate, _HARDWARE_ID_OID)
    if len(value) != _HARDWARE_ID_BYTES[product]:
        raise EvidenceChain(f"the chip id in the certificate has {len(value)} bytes")
    return value
