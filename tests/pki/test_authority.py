"""The CA of a trust domain, requests for certificates, and who peers are: each attack is refused with its own code."""

from __future__ import annotations

import base64
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.errors import PeerRefused, RequestRefused, SpiffeInvalid
from redoubt.limits import DOMAIN_CA_EPOCH_SECONDS, ROLE_CERTIFICATE_SECONDS
from redoubt.pki.authority import domain_authority, domain_secret, trust_bundle
from redoubt.pki.build import Certified, certificate_builder, key_usage, load_identity, private_pem
from redoubt.pki.keystore import trust_store
from redoubt.pki.peer import public_key_of, verify_peer
from redoubt.pki.request import make_request, verify_request
from redoubt.pki.server import make_ca, make_server_certificate
from redoubt.pki.spiffe import SpiffeId

SEED, OTHER_SEED = bytes(32), bytes([1]) * 32
NOW = datetime(2026, 11, 26, 1, tzinfo=UTC)
EPOCH = timedelta(seconds=DOMAIN_CA_EPOCH_SECONDS)
LIFE = timedelta(seconds=ROLE_CERTIFICATE_SECONDS)
KEY = ec.generate_private_key(ec.SECP384R1())
WORKER = SpiffeId(domain="analytics", role="worker", id="ab" * 16)
RESULT = "0b8c0c0e-0000-4000-8000-000000000001"
ROLES = frozenset({"worker", "driver"})


def certificate(name: SpiffeId = WORKER, *, seed: bytes = SEED, now: datetime = NOW) -> bytes:
    issued = domain_authority(seed, domain=name.domain, now=now).issue(name, KEY.public_key(), now=now)
    return issued.public_bytes(Encoding.PEM)


def bundle(domain: str = "analytics", *, seed: bytes = SEED, now: datetime = NOW) -> bytes:
    return trust_bundle(seed, domain=domain, now=now)


def peer(shown: bytes, *, trusted: bytes | None = None, domain: str = "analytics", now: datetime = NOW) -> SpiffeId:
    return verify_peer(shown, bundle=trusted or bundle(domain), domain=domain, roles=ROLES, now=now)


# --- the honest way ---------------------------------------------------------------------------------------------------
def test_certificate_says_exactly_the_name_and_both_ends_of_tls() -> None:
    assert peer(certificate()) == WORKER
    found = x509.load_pem_x509_certificate(certificate())
    assert not list(found.subject)
    assert found.not_valid_after_utc - NOW == LIFE


@pytest.mark.parametrize(("asked", "held"), [(60, 60), (2 * ROLE_CERTIFICATE_SECONDS, ROLE_CERTIFICATE_SECONDS)])
def test_certificate_may_hold_shorter_and_never_longer(asked: int, held: int) -> None:
    authority = domain_authority(SEED, domain="analytics", now=NOW)
    found = authority.issue(WORKER, KEY.public_key(), now=NOW, seconds=asked)
    assert found.not_valid_after_utc - NOW == timedelta(seconds=held)


def test_brokers_with_one_seed_are_one_authority() -> None:
    assert bundle() == bundle()
    assert domain_secret(SEED, domain="analytics") == domain_secret(SEED, domain="analytics")
    others = {domain_secret(OTHER_SEED, domain="analytics"), domain_secret(SEED, domain="analytic")}
    assert domain_secret(SEED, domain="analytics") not in others


def test_rotation_overlaps_so_that_no_member_is_cut_off() -> None:
    begins = datetime.fromtimestamp(NOW.timestamp() // DOMAIN_CA_EPOCH_SECONDS * DOMAIN_CA_EPOCH_SECONDS, UTC) + EPOCH
    before, after = begins - timedelta(seconds=1), begins
    old, new = certificate(now=before), certificate(now=after)
    assert x509.load_pem_x509_certificate(old).issuer != x509.load_pem_x509_certificate(new).issuer
    for trusted in (bundle(now=before), bundle(now=after)):
        assert peer(old, trusted=trusted, now=after) == peer(new, trusted=trusted, now=after) == WORKER


def test_old_authority_is_not_trusted_for_ever() -> None:
    with pytest.raises(PeerRefused):
        peer(certificate(), trusted=bundle(now=NOW + 3 * EPOCH), now=NOW)


def test_tls_takes_the_certificates_at_both_ends() -> None:
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname = False  # roles have no host names
    client.verify_mode = server.verify_mode = ssl.CERT_REQUIRED
    real = datetime.now(UTC)
    for context in (client, server):
        load_identity(context, Certified(certificate(now=real), private_pem(KEY)))
        context.load_verify_locations(cadata=bundle(now=real).decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    waiting = [*ends]
    for _ in range(8):
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    assert [dict(end.getpeercert() or {})["subjectAltName"] for end in ends] == [(("URI", str(WORKER)),)] * 2


def test_java_reads_the_trust_store_without_a_password(tmp_path: Path) -> None:
    store = tmp_path / "trust.p12"
    store.write_bytes(trust_store(bundle()))
    command = ["keytool", "-list", "-keystore", str(store), "-storetype", "PKCS12"]
    listed = subprocess.run(command, input="\n", capture_output=True, text=True, check=False)
    assert listed.stdout.count("trustedCertEntry") == 3, listed.stdout


# --- attacks on peers -------------------------------------------------------------------------------------------------
def test_certificate_of_another_seed_is_refused() -> None:
    with pytest.raises(PeerRefused):
        peer(certificate(seed=OTHER_SEED))


def test_expired_certificate_is_refused() -> None:
    assert peer(certificate(), now=NOW + LIFE - timedelta(seconds=1)) == WORKER
    with pytest.raises(PeerRefused, match="not valid now"):
        peer(certificate(), now=NOW + LIFE)


def test_other_role_and_other_domain_are_refused() -> None:
    with pytest.raises(PeerRefused, match="role 'master'"):
        peer(certificate(SpiffeId(domain="analytics", role="master", id="ab" * 16)))
    foreign = SpiffeId(domain="marketing", role="worker", id="ab" * 16)
    with pytest.raises(PeerRefused, match="trust domain 'marketing'"):
        peer(certificate(foreign), trusted=bundle("marketing") + bundle())


def test_no_expected_role_admits_nobody() -> None:
    with pytest.raises(PeerRefused):
        verify_peer(certificate(), bundle=bundle(), domain="analytics", roles=frozenset(), now=NOW)


def test_authority_of_a_foreign_domain_cannot_name_a_member() -> None:
    """The name constraint holds even where a relying party trusts both CAs."""
    foreign = domain_authority(SEED, domain="marketing", now=NOW)
    constraints = foreign.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.UniformResourceIdentifier("marketing")]
    with pytest.raises(AssertionError):
        foreign.issue(WORKER, KEY.public_key(), now=NOW)


def test_authority_itself_and_a_server_certificate_are_no_peers() -> None:
    authority = domain_authority(SEED, domain="analytics", now=NOW).certificate.public_bytes(Encoding.PEM)
    with pytest.raises(PeerRefused):
        peer(authority)
    ca = make_ca("a broker", now=NOW)
    server = make_server_certificate(ca, name="a broker", hosts=["127.0.0.1"], now=NOW)
    with pytest.raises(PeerRefused, match=r"form|SPIFFE|else"):
        peer(server.certificate, trusted=ca.certificate)


def test_member_is_no_authority_even_if_it_is_in_the_bundle() -> None:
    member = x509.load_pem_x509_certificate(certificate())
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(WORKER))])
    ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    begins, ended = NOW - timedelta(minutes=1), NOW + timedelta(hours=1)
    forged = (
        certificate_builder(x509.Name([]), member.subject, KEY.public_key(), not_before=begins, not_after=ended)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(ends, critical=False)
        .add_extension(name, critical=True)
        .sign(KEY, hashes.SHA384())
        .public_bytes(Encoding.PEM)
    )
    with pytest.raises(PeerRefused, match="not one of a CA"):
        peer(forged, trusted=bundle() + certificate())


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=64), st.integers(0, 700).map(lambda at: certificate()[:at])))
def test_anything_else_is_refused_as_a_certificate(shown: bytes) -> None:
    with pytest.raises(PeerRefused):
        peer(shown)


def test_certificate_of_another_version_is_refused() -> None:
    """The reader raises for it what it raises for nothing else."""
    shown = x509.load_pem_x509_certificate(certificate()).public_bytes(Encoding.DER)
    other = shown.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020104"), 1)
    text = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(other) + b"\n-----END CERTIFICATE-----\n"
    for refusing in (peer, public_key_of):
        with pytest.raises(PeerRefused, match="no certificate"):
            refusing(text)


def test_request_of_another_version_is_refused() -> None:
    made = make_request(KEY, result=RESULT)
    at = made.index(b"\x02\x01\x00")
    with pytest.raises(RequestRefused, match="no PKCS #10 request"):
        verify_request(made[:at] + b"\x02\x01\x05" + made[at + 3 :], result=RESULT)


# --- names ------------------------------------------------------------------------------------------------------------
@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True), st.from_regex(r"[0-9a-f]{32}", fullmatch=True))
def test_names_survive_their_text(label: str, number: str) -> None:
    name = SpiffeId(domain=label, role=label, id=number)
    assert SpiffeId.parse(str(name)) == name


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://analytics/worker",
        f"spiffe://analytics/worker/{'ab' * 16}/more",
        f"spiffe://analytics//{'ab' * 16}",
        f"spiffe://user@analytics/worker/{'ab' * 16}",
        f"spiffe://analytics:8/worker/{'ab' * 16}",
        f"SPIFFE://analytics/worker/{'ab' * 16}",
        f"spiffe://analytics/worker/{'AB' * 16}",
        f"spiffe://analytics/worker/{'ab' * 16}\n",
        f"spiffe://analytics/%77orker/{'ab' * 16}",
    ],
)
def test_other_spelling_of_a_name_is_refused(uri: str) -> None:
    with pytest.raises(SpiffeInvalid):
        SpiffeId.parse(uri)


# --- requests ---------------------------------------------------------------------------------------------------------
def csr() -> x509.CertificateSigningRequestBuilder:
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, RESULT.encode())
    )


def test_request_gives_its_key() -> None:
    assert verify_request(make_request(KEY, result=RESULT), result=RESULT) == KEY.public_key()


def test_request_for_another_result_is_refused() -> None:
    with pytest.raises(RequestRefused, match="another attestation"):
        verify_request(make_request(KEY, result=RESULT), result=RESULT.replace("1", "2"))
    bare = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, hashes.SHA384())
    with pytest.raises(RequestRefused, match="another attestation"):
        verify_request(bare.public_bytes(Encoding.DER), result=RESULT)


def test_request_that_names_somebody_is_refused() -> None:
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(WORKER))])
    named = csr().add_extension(name, critical=False).sign(KEY, hashes.SHA384())
    with pytest.raises(RequestRefused):
        verify_request(named.public_bytes(Encoding.DER), result=RESULT)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "driver")])
    titled = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, RESULT.encode())
        .sign(KEY, hashes.SHA384())
    )
    with pytest.raises(RequestRefused, match="names somebody"):
        verify_request(titled.public_bytes(Encoding.DER), result=RESULT)


def test_request_whose_key_did_not_sign_is_refused() -> None:
    good = make_request(KEY, result=RESULT)
    other = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    mine = KEY.public_key().public_numbers()
    forged = good.replace(mine.x.to_bytes(48) + mine.y.to_bytes(48), other.x.to_bytes(48) + other.y.to_bytes(48))
    assert forged != good
    with pytest.raises(RequestRefused, match="not signed by its own key"):
        verify_request(forged, result=RESULT)


def test_request_with_a_weaker_key_is_refused() -> None:
    weak = make_request(ec.generate_private_key(ec.SECP256R1()), result=RESULT)
    with pytest.raises(RequestRefused, match="P-384"):
        verify_request(weak, result=RESULT)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=4096), st.integers(0, 240).map(lambda at: make_request(KEY, result=RESULT)[:at])))
def test_anything_else_is_refused_as_a_request(request_: bytes) -> None:
    with pytest.raises(RequestRefused):
        verify_request(request_, result=RESULT)
