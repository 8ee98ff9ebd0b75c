"""The internal CA and its rotation: who reaches whom and when, and what is refused.

The judge is not our own code but ``cryptography``'s verifier of web chains, which takes the time as a parameter, and
OpenSSL, with real servers.
"""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.errors import AuthorityInvalid, CertificatesIncomplete, RotationRefused, UsageError
from redoubt.limits import MAX_CERTIFICATE_HOSTS
from redoubt.pki.build import certificate_builder, common_name, private_pem
from redoubt.pki.enclave import make_enclave_key
from redoubt.pki.hosts import parse_hosts
from redoubt.pki.internal import InternalAuthority, ServerIdentity, pem
from redoubt.pki.server import SERVER_LIFE

NOW = datetime(2026, 11, 26, tzinfo=UTC)
DAY = timedelta(days=1)
OVERLAP = 90 * DAY
HOST = "spark.example"
FIRST = InternalAuthority.new("first", now=NOW)
LATER = NOW + 30 * DAY
SECOND = FIRST.successor("second", overlap=OVERLAP, now=LATER)


def issued(authority: InternalAuthority, *, now: datetime = NOW) -> ServerIdentity:
    return authority.issue(name="tests", hosts=[HOST, "127.0.0.1"], now=now)


def reaches(bundle: bytes, server: ServerIdentity, *, now: datetime, host: str = HOST) -> bool:
    """Say whether a client that trusts *bundle* accepts *server*."""
    store = Store(x509.load_pem_x509_certificates(bundle))
    verifier = PolicyBuilder().store(store).time(now).build_server_verifier(x509.DNSName(host))
    try:
        verifier.verify(server.chain[0], list(server.chain[1:]))
    except VerificationError:
        return False
    return True


# --- who reaches whom -------------------------------------------------------------------------------------------------
def test_clients_of_the_ca_reach_its_servers_and_no_other() -> None:
    server = issued(FIRST)
    assert reaches(FIRST.bundle(), server, now=NOW)
    assert not reaches(FIRST.bundle(), server, now=NOW, host="other.example")
    assert not reaches(InternalAuthority.new("first", now=NOW).bundle(), server, now=NOW)
    assert not reaches(FIRST.bundle(), server, now=NOW + SERVER_LIFE + DAY)


def test_in_an_overlap_everybody_reaches_everybody() -> None:
    for server in (issued(FIRST), issued(SECOND, now=LATER)):
        for bundle in (FIRST.bundle(), SECOND.bundle()):
            for now in (LATER, LATER + OVERLAP - DAY):
                assert reaches(bundle, server, now=now)


def test_after_the_overlap_only_the_new_trust_reaches_new_servers() -> None:
    server, after = issued(SECOND, now=LATER), LATER + OVERLAP + DAY
    assert reaches(SECOND.bundle(), server, now=after)
    assert not reaches(FIRST.bundle(), server, now=after)
    assert reaches(SECOND.bundle(), issued(FIRST), now=after), "servers that did not restart yet"


def test_the_next_issue_after_an_overlap_forgets_the_old_ca() -> None:
    assert SECOND.at(LATER + OVERLAP - DAY).overlap is not None
    settled = SECOND.at(LATER + OVERLAP)
    assert settled.overlap is None
    assert settled.bundle() == pem([SECOND.certificate])
    assert len(issued(settled, now=LATER + OVERLAP).chain) == 1


def test_rotations_go_on_without_a_gap() -> None:
    authority, now = FIRST, NOW
    for number in range(4):
        before = authority.at(now)
        authority = before.successor(f"ca {number}", overlap=OVERLAP, now=now)
        assert reaches(before.bundle(), issued(authority, now=now), now=now + DAY)
        assert reaches(authority.bundle(), issued(before, now=now), now=now + DAY)
        now += OVERLAP


# --- what is refused --------------------------------------------------------------------------------------------------
def test_second_rotation_within_an_overlap_is_refused() -> None:
    """It would cut off who trusts the first CA: their chain would have two CAs too many."""
    with pytest.raises(RotationRefused, match="replaced already"):
        SECOND.successor("third", overlap=OVERLAP, now=LATER + OVERLAP - DAY)


def test_expired_ca_certifies_no_other() -> None:
    with pytest.raises(RotationRefused, match="expired"):
        FIRST.successor("late", overlap=OVERLAP, now=FIRST.certificate.not_valid_after_utc)


def test_certificate_that_would_outlive_its_ca_is_refused() -> None:
    last = FIRST.certificate.not_valid_after_utc - SERVER_LIFE
    issued(FIRST, now=last)
    with pytest.raises(RotationRefused, match="before a new certificate"):
        issued(FIRST, now=last + DAY)


def test_overlap_ends_with_the_old_ca_at_the_latest() -> None:
    end = FIRST.certificate.not_valid_after_utc
    joined = FIRST.successor("late", overlap=OVERLAP, now=end - DAY).overlap
    assert joined is not None
    assert joined.ends == end


def test_servers_key_certifies_nobody() -> None:
    server = issued(FIRST)
    posing = InternalAuthority(certificate=server.chain[0], key=server.key)
    forged = posing.issue(name="forged", hosts=[HOST], now=NOW - SERVER_LIFE)
    assert not reaches(FIRST.bundle(), ServerIdentity(key=forged.key, chain=(*forged.chain, *server.chain)), now=NOW)


def test_certified_ca_certifies_no_third() -> None:
    """The cross-certificate's path length is 0, so the new CA's key makes no CAs that old clients accept."""
    assert SECOND.overlap is not None
    third = InternalAuthority(certificate=SECOND.certificate, key=SECOND.key).successor("3", overlap=OVERLAP, now=LATER)
    assert third.overlap is not None
    server = issued(third, now=LATER)
    longer = ServerIdentity(key=server.key, chain=(*server.chain, SECOND.overlap.cross))
    assert reaches(SECOND.bundle(), longer, now=LATER)
    assert not reaches(FIRST.bundle(), longer, now=LATER)


# --- the file ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("authority", [FIRST, SECOND], ids=["alone", "overlap"])
def test_authority_survives_its_file(authority: InternalAuthority) -> None:
    again = InternalAuthority.from_pem(authority.to_pem())
    assert again.to_pem() == authority.to_pem()
    assert again.bundle() == authority.bundle()


def mixed() -> dict[str, bytes]:
    assert SECOND.overlap is not None
    other = InternalAuthority.new("other", now=NOW)
    certificate, cross, former = SECOND.certificate, SECOND.overlap.cross, SECOND.overlap.former
    key = private_pem(SECOND.key)
    return {
        "another key": private_pem(other.key) + pem([certificate, cross, former]),
        "key alone": key,
        "certificates alone": pem([certificate, cross, former]),
        "key of RSA": make_enclave_key() + pem([certificate]),
        "old CA missing": key + pem([certificate, cross]),
        "old CA another": key + pem([certificate, cross, other.certificate]),
        "cross-certificate another's": private_pem(other.key) + pem([other.certificate, cross, former]),
        "cross-certificate first": key + pem([cross, certificate, former]),
        "four certificates": key + pem([certificate, cross, former, former]),
        "server for a CA": issued(FIRST).to_pem(),
        "password": b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    }


MIXED = mixed()


@pytest.mark.parametrize("text", MIXED.values(), ids=MIXED)
def test_authority_of_parts_that_do_not_belong_together_is_refused(text: bytes) -> None:
    with pytest.raises(AuthorityInvalid):
        InternalAuthority.from_pem(text)


def test_server_of_parts_that_do_not_belong_together_is_refused() -> None:
    one, other = issued(FIRST), issued(FIRST)
    assert ServerIdentity.from_pem(one.to_pem()).hosts == (HOST, "127.0.0.1")
    no_hosts = private_pem(FIRST.key) + pem([FIRST.certificate])
    for text in (private_pem(one.key) + pem(other.chain), private_pem(one.key), pem(one.chain), no_hosts):
        with pytest.raises(CertificatesIncomplete):
            ServerIdentity.from_pem(text)


def test_certificate_of_another_version_is_refused() -> None:
    """The reader raises for it what it raises for nothing else."""
    for authority, server in ((FIRST, issued(FIRST)), (SECOND, issued(SECOND, now=LATER))):
        for text, refusing, refusal in (
            (authority.to_pem(), InternalAuthority.from_pem, AuthorityInvalid),
            (server.to_pem(), ServerIdentity.from_pem, CertificatesIncomplete),
        ):
            before = x509.load_pem_x509_certificates(text)[-1].public_bytes(Encoding.DER)
            other = before.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020104"), 1)
            odd = base64.b64encode(other)
            key = text[: text.index(b"-----BEGIN CERT")]
            with pytest.raises(refusal):
                refusing(key + b"-----BEGIN CERTIFICATE-----\n" + odd + b"\n-----END CERTIFICATE-----\n")


def test_server_without_a_name_or_without_hosts_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    hosts = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    named = common_name("tests")
    for subject, extensions in ((x509.Name([]), [hosts]), (named, [])):
        builder = certificate_builder(subject, named, key.public_key(), not_before=NOW, not_after=LATER)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        with pytest.raises(CertificatesIncomplete):
            ServerIdentity.from_pem(private_pem(key) + pem([builder.sign(key, hashes.SHA256())]))


_TEXT = SECOND.to_pem()


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=64),
        st.integers(0, len(_TEXT) - 2).map(lambda at: _TEXT[:at]),
        st.tuples(st.integers(0, len(_TEXT) - 1), st.integers(0, 255)).map(
            lambda it: _TEXT[: it[0]] + bytes([it[1]]) + _TEXT[it[0] + 1 :]
        ),
    )
)
def test_changed_authority_is_refused_or_means_the_same(text: bytes) -> None:
    """Text around PEM is free; a file cut after its first certificate is the CA without an overlap, which is true."""
    try:
        found = InternalAuthority.from_pem(text)
    except AuthorityInvalid:
        return
    assert found.certificate == SECOND.certificate
    assert found.overlap in (None, SECOND.overlap)


# --- hosts ------------------------------------------------------------------------------------------------------------
def test_hosts_are_written_one_way() -> None:
    texts = ["Spark.Example", "spark.example", "*.ns.svc", "127.0.0.1", "0:0:0:0:0:0:0:1", "a-b", "10.example"]
    assert parse_hosts(texts) == ("spark.example", "*.ns.svc", "127.0.0.1", "::1", "a-b", "10.example")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "https://spark.example",
        "spark.example:8043",
        "spark.example/",
        "spark..example",
        ".example",
        "example.",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a.*.example",
        "*",
        "*.",
        "f*.example",
        "1.2.3",
        "1.2.3.256",
        "fe80::1%eth0",
        "spark.example\n",
        "spark.example,DNS:evil.example",
        "bücher.example",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "user@host",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_hosts([text])


def test_number_of_hosts_is_bounded() -> None:
    names = [f"h{number}" for number in range(MAX_CERTIFICATE_HOSTS)]
    assert len(parse_hosts(names)) == MAX_CERTIFICATE_HOSTS
    for wrong in ([], [*names, "one-more"]):
        with pytest.raises(UsageError):
            parse_hosts(wrong)


_WRITTEN = st.text("aB9-.*:", min_size=1, max_size=12) | st.ip_addresses().map(str) | st.text(max_size=8)


@given(st.lists(_WRITTEN, min_size=1, max_size=3))
def test_every_host_that_is_taken_can_stand_in_a_certificate(texts: list[str]) -> None:
    try:
        hosts = parse_hosts(texts)
    except UsageError:
        return
    assert parse_hosts(hosts) == hosts
    server = FIRST.issue(name="tests", hosts=hosts, now=NOW)
    assert ServerIdentity.from_pem(server.to_pem()).hosts == hosts


# --- OpenSSL, with real servers ---------------------------------------------------------------------------------------
@contextmanager
def openssl_server(folder: Path, server: ServerIdentity) -> Iterator[int]:
    """Run ``openssl s_server`` with *server*, and give its port."""
    chain, own = folder / f"{server.chain[0].serial_number}.chain", folder / f"{server.chain[0].serial_number}.pem"
    chain.write_bytes(pem(server.chain[1:]))
    own.write_bytes(server.to_pem())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    extra = ["-cert_chain", str(chain)] if server.chain[1:] else []
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(own), "-www", "-quiet", *extra],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def connects(port: int, bundle: bytes, *, host: str = HOST) -> bool:
    context = ssl.create_default_context(cadata=bundle.decode())
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            return tls.version() == "TLSv1.3"
    except ssl.SSLCertVerificationError:
        return False


def test_running_services_stay_reachable_through_a_rotation(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = InternalAuthority.new("live", now=now)
    with openssl_server(tmp_path, issued(first, now=now)) as old_port:
        assert connects(old_port, first.bundle())
        second = first.successor("live 2", overlap=DAY, now=now)  # while the server runs on
        with openssl_server(tmp_path, issued(second, now=now)) as new_port:
            for port in (old_port, new_port):
                assert connects(port, first.bundle())
                assert connects(port, second.bundle())
                assert not connects(port, FIRST.bundle())
                assert not connects(port, second.bundle(), host="other.example")


@pytest.mark.parametrize("authority", [FIRST, SECOND], ids=["alone", "overlap"])
def test_openssl_verifies_the_chain_strictly(authority: InternalAuthority, tmp_path: Path) -> None:
    server = authority.issue(name="tests", hosts=[HOST], now=LATER)
    (tmp_path / "leaf").write_bytes(server.chain[0].public_bytes(Encoding.PEM))
    (tmp_path / "above").write_bytes(pem(server.chain[1:]) or b"")
    for trusted in (authority.bundle(), FIRST.bundle()):
        (tmp_path / "ca").write_bytes(trusted)
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", HOST]
        command += ["-attime", str(int(LATER.timestamp())), "-CAfile", str(tmp_path / "ca")]
        command += ["-untrusted", str(tmp_path / "above")] if server.chain[1:] else []
        done = subprocess.run([*command, str(tmp_path / "leaf")], capture_output=True, text=True, check=False)
        assert done.stdout.endswith("leaf: OK\n"), done.stderr


def test_keys_are_on_a_curve() -> None:
    assert isinstance(issued(FIRST).key.curve, ec.SECP256R1)
