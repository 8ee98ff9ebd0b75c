"""SNP reports of our own AMD, all three products: attacks on report, certificates and their agreement."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.pki_snp import NOW, Amd
from tests.evidence.vectors import SHARED, require_vectors

from redoubt.errors import (
    EvidenceChain,
    EvidenceCollateral,
    EvidenceError,
    EvidenceExpired,
    EvidenceMalformed,
    EvidenceNonce,
    EvidenceNotYetValid,
    EvidenceRevoked,
    EvidenceSignature,
    EvidenceUnbound,
    EvidenceUnprovable,
)
from redoubt.evidence import snp
from redoubt.evidence.claims import Expected, Verified
from redoubt.evidence.snp import SnpCollateral
from redoubt.evidence.snp_chain import Pins, amd_pins
from redoubt.evidence.snp_report import REPORT_BYTES, TCB_LAYOUT, Product, Signer, parse_report
from redoubt.limits import MAX_CERTIFICATE_BYTES, MAX_SNP_CERTIFICATES

PRODUCTS = list(Product)


@cache
def amd(product: Product = Product.MILAN) -> Amd:
    return Amd(product)


def check(
    report: bytes,
    chain: tuple[bytes, ...] | None = None,
    *,
    by: Amd | None = None,
    expected: Expected | None = None,
    shift: timedelta = timedelta(0),
    crl: bytes | None = None,
    pins: Pins | None = None,
) -> Verified:
    by = by or amd()
    return snp.verify(
        report,
        collateral=SnpCollateral(by.chain() if chain is None else chain, crl),
        expected=expected or Expected(),
        now=NOW + shift,
        pins=pins or by.pins,
    )


# --- what is accepted -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("version", [2, 3, 5])
@pytest.mark.parametrize("signer", list(Signer))
def test_accepted(product: Product, version: int, signer: Signer) -> None:
    by = amd(product)
    report = by.report(version=version, signer=signer.value, report_data=b"\7" * 48)
    verified = check(report, by.chain(signer), by=by, expected=Expected(report_data=b"\7" * 48))
    assert verified.claims["snp.measurement"] == "5a" * 48
    assert verified.claims["snp.product"] == product
    assert verified.claims["snp.signer"] == signer.name.lower()
    assert verified.claims["snp.csp_id"] == (None if signer is Signer.VCEK else "CN=cloud")
    assert verified.claims["snp.tcb.microcode"] == 213
    assert ("snp.tcb.fmc" in verified.claims) == (product is Product.TURIN)
    assert verified.claims["snp.debug"] is False
    assert verified.tcb_status is None
    assert verified.valid_until == NOW + timedelta(days=100, seconds=1)


def test_debug_policy_is_a_claim() -> None:
    assert check(amd().report(policy=0xB0000)).claims["snp.debug"] is True


def test_vmpl_is_a_claim() -> None:
    assert check(amd().report(vmpl=3)).claims["snp.vmpl"] == 3


def test_chain_in_one_pem_file_and_any_order_is_accepted() -> None:
    pem = [x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in amd().chain()]
    assert check(amd().report(), (pem[2] + pem[0] + pem[1],)).claims["snp.chain_presented"] is True


def test_pinned_intermediate_stands_in_for_an_absent_one() -> None:
    by = amd()
    spki = by.ask_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pins = Pins(by.pins.roots, {(Product.MILAN, Signer.VCEK): spki})
    assert check(by.report(), by.chain()[:1], pins=pins).claims["snp.chain_presented"] is False


def test_pinned_intermediates_are_the_ones_that_amds_roots_signed() -> None:
    require_vectors()
    folders = SHARED / "vectors"
    pins = amd_pins()
    assert set(pins.roots) == set(Product)
    for (product, signer), spki in pins.intermediates.items():
        name = f"SEV-{product}" if signer is Signer.VCEK else f"SEV-VLEK-{product}"
        suffix = "ask" if signer is Signer.VCEK else "asvk"
        found = [x509.load_der_x509_certificate(path.read_bytes()) for path in folders.glob(f"*/*.{suffix}.der")]
        own = next(each for each in found if name in each.subject.rfc4514_string())
        root = x509.load_der_x509_certificate(
            next(
                path.read_bytes()
                for path in folders.glob("*/*.ark.der")
                if f"ARK-{product}".encode() in path.read_bytes()
            )
        )
        own.verify_directly_issued_by(root)
        assert own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki


# --- attacks on the report --------------------------------------------------------------------------------------------
def test_any_changed_bit_of_the_report_is_refused() -> None:
    report = amd().report()
    for bit in random.Random(1).sample(range(8 * REPORT_BYTES), 200):
        changed = bytearray(report)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EvidenceError):
            check(bytes(changed))


def test_report_signed_by_another_key_is_refused() -> None:
    with pytest.raises(EvidenceSignature):
        check(amd().report(key=ec.generate_private_key(ec.SECP384R1())))


@pytest.mark.parametrize("at", [0x4C, 0x18B, 0x1EB, 0x1EF, 0x1F8, 0x29F, 0x2A0 + 48, 0x2E8 + 48, 0x330, 0x49F])
def test_reserved_bytes_must_be_zero_even_if_signed(at: int) -> None:
    report = bytearray(amd().report(patches={at: b"\1"} if at < 0x2A0 else None))
    report[at] = 1
    with pytest.raises(EvidenceMalformed):
        check(bytes(report))


@pytest.mark.parametrize(
    ("patches", "error"),
    [
        ({0x00: b"\4"}, EvidenceMalformed),
        ({0x34: b"\2"}, EvidenceMalformed),
        ({0x0A: b"\1"}, EvidenceMalformed),  # policy without the bit that is always set
        ({0x0B: b"\x80"}, EvidenceMalformed),  # policy with an unknown bit
        ({0x48: b"\x20"}, EvidenceMalformed),
        ({0x48: b"\x02"}, EvidenceUnprovable),  # chip key masked
        ({0x48: b"\x1c"}, EvidenceUnprovable),  # signed by no key
        ({0x30: b"\4"}, EvidenceMalformed),
        ({0x188: b"\x19\x40"}, EvidenceMalformed),  # a CPU that nobody knows
        ({0x188: b"\x19\x11"}, EvidenceChain),  # a Genoa under a Milan's key
        ({0x3A: b"\1"}, EvidenceMalformed),  # reserved byte of a TCB version
    ],
)
def test_impossible_fields_are_refused_even_if_signed(patches: dict[int, bytes], error: type[EvidenceError]) -> None:
    with pytest.raises(error):
        check(amd().report(patches=patches))


@pytest.mark.parametrize("size", [0, 1, REPORT_BYTES - 1, REPORT_BYTES + 1])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(EvidenceMalformed):
        parse_report(bytes(size))


def test_relayed_report_of_another_session_is_refused() -> None:
    with pytest.raises(EvidenceUnbound):
        check(amd().report(report_data=b"\1" * 48), expected=Expected(report_data=b"\2" * 48))


def test_report_data_beyond_a_digest_must_be_zero() -> None:
    with pytest.raises(EvidenceUnbound):
        check(amd().report(report_data=b"\1" * 49), expected=Expected(report_data=b"\1" * 48))


def test_expected_nonce_is_never_passed_over() -> None:
    with pytest.raises(EvidenceNonce):
        check(amd().report(), expected=Expected(nonce=b"\1"))


# --- attacks on the certificates --------------------------------------------------------------------------------------
def test_another_chip_is_refused() -> None:
    with pytest.raises(EvidenceChain):
        check(amd().report(chip_id=b"\xee" * 64))


def test_masked_chip_id_under_a_vcek_is_refused() -> None:
    with pytest.raises(EvidenceChain):
        check(amd().report(chip_id=bytes(64)))


def test_turin_chip_id_longer_than_the_certificates_is_refused() -> None:
    by = amd(Product.TURIN)
    with pytest.raises(EvidenceChain):
        check(by.report(chip_id=by.chip_id + b"\1"), by=by)


@pytest.mark.parametrize("name", ["bootloader", "tee", "snp", "microcode"])
def test_endorsement_key_of_another_tcb_is_refused(name: str) -> None:
    at = TCB_LAYOUT[Product.MILAN][name]
    with pytest.raises(EvidenceChain):
        check(amd().report(patches={0x180 + at: b"\3"}))


def test_vlek_where_the_report_names_a_vcek_is_refused() -> None:
    with pytest.raises(EvidenceChain):
        check(amd().report(), amd().chain(Signer.VLEK))


def test_endorsement_key_of_another_issuer_is_refused() -> None:
    leaf = amd().endorsement(signed_by=amd().ark_key)
    with pytest.raises(EvidenceChain):
        check(amd().report(), (leaf, amd().ask, amd().ark))


def test_foreign_root_is_refused() -> None:
    with pytest.raises(EvidenceChain):
        check(amd().report(), pins=amd(Product.GENOA).pins)
    with pytest.raises(EvidenceChain):
        check(amd().report(), pins=Pins({Product.MILAN: "00" * 32}, {}))


def test_our_amd_is_not_amd() -> None:
    for chain in (amd().chain(), amd().chain()[:1]):
        with pytest.raises(EvidenceChain):
            check(amd().report(), chain, pins=amd_pins())


def test_intermediate_that_is_no_authority_is_refused() -> None:
    by = amd()
    ask = by.authority("SEV-Milan", by.ask_key, "ARK-Milan", by.ark_key, ca=False)
    with pytest.raises(EvidenceChain):
        check(by.report(), (by.endorsement(), ask, by.ark))


@pytest.mark.parametrize("without", ["2", "3.1", "3.8", "4"])
def test_certificate_without_an_extension_is_refused(without: str) -> None:
    leaf = amd().endorsement(without=without)
    with pytest.raises(EvidenceChain):
        check(amd().report(), (leaf, amd().ask, amd().ark))


@pytest.mark.parametrize("name", ["Rome", "", "Milano", "Genoa"])
def test_certificate_of_another_product_is_refused(name: str) -> None:
    leaf = amd().endorsement(product_name=name or " ")
    with pytest.raises(EvidenceChain):
        check(amd().report(), (leaf, amd().ask, amd().ark))


def test_without_endorsement_key_nothing_is_proved() -> None:
    for chain in ((), amd().chain()[1:]):
        with pytest.raises(EvidenceUnprovable):
            check(amd().report(), chain)


@pytest.mark.parametrize("missing", [1, 2])
def test_gap_in_the_chain_is_refused(missing: int) -> None:
    chain = amd().chain()
    with pytest.raises(EvidenceUnprovable):
        check(amd().report(), chain[:missing] + chain[missing + 1 :])


def test_two_endorsement_keys_are_refused() -> None:
    with pytest.raises(EvidenceChain):
        check(amd().report(), (*amd().chain(), amd().endorsement()))


@pytest.mark.parametrize(("shift", "error"), [(101, EvidenceExpired), (-101, EvidenceNotYetValid)])
def test_certificates_outside_their_validity_are_refused(shift: int, error: type[EvidenceError]) -> None:
    with pytest.raises(error):
        check(amd().report(), shift=timedelta(days=shift))


def test_revoked_intermediate_is_refused() -> None:
    with pytest.raises(EvidenceRevoked):
        check(amd().report(), crl=amd().revocation_list(amd().ask))


def test_revocation_list_without_the_intermediate_is_accepted() -> None:
    check(amd().report(), crl=amd().revocation_list(amd().asvk))


def test_revocation_list_of_another_is_refused() -> None:
    for crl in (b"", b"-----BEGIN", amd().revocation_list(key=amd().ask_key), amd(Product.GENOA).revocation_list()):
        with pytest.raises(EvidenceCollateral):
            check(amd().report(), crl=crl)


def test_revocation_list_of_an_unknown_version_is_refused() -> None:
    crl = amd().revocation_list()
    strange = crl.replace(b"\x02\x01\x01", b"\x02\x01\x07", 1)
    assert strange != crl
    with pytest.raises(EvidenceCollateral):
        check(amd().report(), crl=strange)


@pytest.mark.parametrize(("days", "error"), [((-10, -1), EvidenceExpired), ((1, 10), EvidenceNotYetValid)])
def test_revocation_list_outside_its_validity_is_refused(days: tuple[int, int], error: type[EvidenceError]) -> None:
    with pytest.raises(error):
        check(amd().report(), crl=amd().revocation_list(days=days))


def test_certificates_are_limited() -> None:
    with pytest.raises(EvidenceChain):
        check(amd().report(), (bytes(MAX_CERTIFICATE_BYTES * MAX_SNP_CERTIFICATES + 1),))
    many = tuple(amd().endorsement() for _ in range(MAX_SNP_CERTIFICATES + 1))
    with pytest.raises(EvidenceChain):
        check(amd().report(), many)


# --- hostile bytes ----------------------------------------------------------------------------------------------------
@cache
def _sample() -> tuple[bytes, tuple[bytes, ...]]:
    return amd().report(), amd().chain()


@given(st.binary(max_size=1300), st.lists(st.binary(max_size=200), max_size=3))
def test_any_bytes_raise_only_documented_errors(report: bytes, chain: list[bytes]) -> None:
    with pytest.raises(EvidenceError):
        check(report, tuple(chain))


@given(st.data())
def test_mutated_reports_raise_only_documented_errors(data: st.DataObject) -> None:
    report = bytearray(_sample()[0])
    for _ in range(data.draw(st.integers(1, 3))):
        report[data.draw(st.integers(0, REPORT_BYTES - 1))] = data.draw(st.integers(0, 255))
    if bytes(report) != _sample()[0]:
        with pytest.raises(EvidenceError):
            check(bytes(report), _sample()[1])


@pytest.mark.parametrize("index", range(3))
def test_changed_algorithm_outside_the_signed_part_is_refused(index: int) -> None:
    report, chain = _sample()
    der = chain[index]
    certificate = x509.load_der_x509_certificate(der)
    signed = certificate.tbs_certificate_bytes
    start = der.index(signed) + len(signed)
    for at in range(start, len(der) - len(certificate.signature)):
        changed = der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]
        with pytest.raises(EvidenceError):
            check(report, (*chain[:index], changed, *chain[index + 1 :]))


@given(st.data())
def test_mutated_certificates_raise_only_documented_errors(data: st.DataObject) -> None:
    report, chain = _sample()
    index = data.draw(st.integers(0, 2))
    changed = bytearray(chain[index])
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] = data.draw(st.integers(0, 255).filter(lambda value: value != chain[index][at]))
    with pytest.raises(EvidenceError):
        check(report, (*chain[:index], bytes(changed), *chain[index + 1 :]))


def test_parsed_report_keeps_nothing_beyond_the_signed_bytes() -> None:
    report = amd().report()
    assert replace(parse_report(report)).signed == report[:0x2A0]
