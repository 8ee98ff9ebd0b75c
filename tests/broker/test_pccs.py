"""Collateral from a PCCS that speaks the protocol of Intel's, over TLS, with the tests' own Intel behind it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.evidence.pki_dcap import FMSPC, NOW, Intel
from tests.keys.peers.tls import Reply, Request, TestAuthority, serve

from redoubt.broker.collateral import IntelCollateral
from redoubt.broker.pccs import Pccs, Platform
from redoubt.errors import CollateralUnavailable, ProviderSettingsInvalid
from redoubt.evidence.claims import Expected, Tee
from redoubt.evidence.collateral import CachePolicy
from redoubt.evidence.dcap import DcapCollateral, verify
from redoubt.limits import MAX_COLLATERAL_BYTES
from redoubt.protocol.evidence_body import EvidenceBody

SGX = Platform("sgx", FMSPC.hex().upper(), "platform")
TDX = replace(SGX, tee="tdx")
Change = Callable[[str, Reply], Reply]


class Service:
    """Answers as Intel's PCCS does: URL-encoded chains in headers, signed JSON, lists as DER or hexadecimal digits."""

    def __init__(self, intel: Intel) -> None:
        self.intel = intel
        self.paths: list[str] = []
        self.change: Change = lambda _, reply: reply
        self.old_header = False

    def __call__(self, request: Request) -> Reply:
        self.paths.append(request.path)
        url = urlsplit(request.path)
        tee, _, kind = url.path.removeprefix("/").partition("/certification/v4/")
        parts = json.loads(self.intel.collateral(tdx=tee == "tdx"))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        reply = Reply(404)
        if kind == "pckcrl" and query == {"ca": "platform", "encoding": "der"}:
            chain = {"SGX-PCK-CRL-Issuer-Chain": quote(parts["pck_crl_issuer_chain"])}
            reply = Reply(200, bytes.fromhex(parts["pck_crl"]), chain)
        elif kind == "rootcacrl":
            reply = Reply(200, parts["root_ca_crl"].encode())
        elif kind == "tcb" and query == {"fmspc": FMSPC.hex().upper()}:
            name = "SGX-TCB-Info-Issuer-Chain" if self.old_header else "TCB-Info-Issuer-Chain"
            content = f'{{"tcbInfo":{parts["tcb_info"]},"signature":"{parts["tcb_info_signature"]}"}}'
            reply = Reply(200, content.encode(), {name: quote(parts["tcb_info_issuer_chain"])})
        elif kind == "qe/identity":
            content = f'{{"enclaveIdentity":{parts["qe_identity"]},"signature":"{parts["qe_identity_signature"]}"}}'
            chain = {"SGX-Enclave-Identity-Issuer-Chain": quote(parts["qe_identity_issuer_chain"])}
            reply = Reply(200, content.encode(), chain)
        return self.change(kind, reply)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("pccs"))


@pytest.fixture
def service() -> Service:
    return Service(Intel())


@contextlib.contextmanager
def running(service: Service, authority: TestAuthority) -> Iterator[Pccs]:
    with serve(service, authority.server()) as port:
        yield Pccs(f"https://localhost:{port}", ca_file=authority.file)


@pytest.mark.parametrize("platform", [SGX, TDX], ids=["sgx", "tdx"])
@pytest.mark.parametrize("old_header", [False, True])
def test_what_is_fetched_proves_a_quote(
    service: Service, authority: TestAuthority, platform: Platform, old_header: bool
) -> None:
    service.old_header = old_header
    tee = Tee(platform.tee)
    evidence = service.intel.sgx_quote() if tee is Tee.SGX else service.intel.tdx_quote()
    with running(service, authority) as pccs:
        collateral = DcapCollateral.parse(pccs.fetch(platform))
    found = verify(evidence, tee=tee, collateral=collateral, expected=Expected(), now=NOW, root=service.intel.root_der)
    assert found.tcb_status == "UpToDate"
    assert Platform.of(evidence) == platform


def test_enclave_and_td_of_one_platform_have_each_their_own(
    service: Service, authority: TestAuthority, tmp_path: Path
) -> None:
    with running(service, authority) as pccs:
        cache = IntelCollateral(tmp_path, fetch=pccs.fetch)
        sgx = cache.get(EvidenceBody(tee=Tee.SGX, evidence=service.intel.sgx_quote()), now=NOW)
        tdx = cache.get(EvidenceBody(tee=Tee.TDX, evidence=service.intel.tdx_quote()), now=NOW)
    assert [json.loads(json.loads(it)["qe_identity"])["id"] for it in (sgx, tdx)] == ["QE", "TD_QE"]
    assert [json.loads(json.loads(it)["tcb_info"])["id"] for it in (sgx, tdx)] == ["SGX", "TDX"]


def test_an_outage_is_bridged_and_ends(service: Service, authority: TestAuthority, tmp_path: Path) -> None:
    body = EvidenceBody(tee=Tee.SGX, evidence=service.intel.sgx_quote())
    with running(service, authority) as pccs:
        cache = IntelCollateral(tmp_path, fetch=pccs.fetch, policy=CachePolicy())
        first = cache.get(body, now=NOW)
    assert cache.get(body, now=NOW + timedelta(days=1)) == first
    with pytest.raises(CollateralUnavailable):
        cache.get(body, now=NOW + timedelta(days=8))


def test_a_flood_of_made_up_platforms_shuts_nobody_out(tmp_path: Path) -> None:
    """They are words of quotes that nothing has proved; the honest platform comes after them."""
    intel, asked = Intel(), 0

    def fetch(platform: Platform) -> bytes:
        nonlocal asked
        asked += 1
        if platform != SGX:
            raise CollateralUnavailable("unknown")
        return intel.collateral()

    cache = IntelCollateral(tmp_path, fetch=fetch)
    for number in range(400):
        with pytest.raises(CollateralUnavailable):
            cache._cache.get(f"sgx-{number:012X}-platform", now=NOW)
    assert cache.get(EvidenceBody(tee=Tee.SGX, evidence=intel.sgx_quote()), now=NOW)
    assert asked == 401
    assert len(cache._cache._failed) < 400


def test_a_slow_fetch_for_a_made_up_platform_delays_nobody_who_has_collateral(tmp_path: Path) -> None:
    intel = Intel()
    asked, release = threading.Event(), threading.Event()

    def fetch(platform: Platform) -> bytes:
        if platform != SGX:
            asked.set()
            release.wait(20)
            raise CollateralUnavailable("unknown")
        return intel.collateral()

    cache = IntelCollateral(tmp_path, fetch=fetch)
    body = EvidenceBody(tee=Tee.SGX, evidence=intel.sgx_quote())
    first = cache.get(body, now=NOW)

    def flood() -> None:
        with contextlib.suppress(CollateralUnavailable):
            cache._cache.get("sgx-000000000000-platform", now=NOW)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        assert asked.wait(20)
        assert cache.get(body, now=NOW) == first
        assert cache.get(body, now=NOW + timedelta(days=1)) == first  # due for a refresh, and good without
        assert not release.is_set()
    finally:
        release.set()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "reply", "words"),
    [
        ("tcb", Reply(503), "the status 503"),
        ("tcb", Reply(302, b"", {"Location": "https://elsewhere.example/"}), "the status 302"),
        ("tcb", Reply(200, b'{"tcbInfo":{},"signature":"00"}'), "no header TCB-Info"),
        ("qe/identity", Reply(200, b"[]"), "not a signed enclaveIdentity"),
        ("qe/identity", Reply(200, b'{"enclaveIdentity":{"a":1}'), "not a signed enclaveIdentity"),
        ("qe/identity", Reply(200, b'{"enclaveIdentity":' + b"[" * 100_000), "not a signed enclaveIdentity"),
        ("qe/identity", Reply(200, b'{"enclaveIdentity":{},"signature":7}'), "not a signed enclaveIdentity"),
        ("pckcrl", Reply(200, b"0x", {"SGX-PCK-CRL-Issuer-Chain": ""}), "not a revocation list"),
        ("rootcacrl", Reply(200, b"<html>"), "not a revocation list"),
        ("rootcacrl", Reply(200, b"0" * (MAX_COLLATERAL_BYTES + 1)), "larger than"),
    ],
)
def test_strange_answer_is_refused_with_its_reason(
    service: Service, authority: TestAuthority, kind: str, reply: Reply, words: str
) -> None:
    service.change = lambda it, good: reply if it == kind else good
    with running(service, authority) as pccs, pytest.raises(CollateralUnavailable, match=words):
        pccs.fetch(SGX)


def test_lists_in_pem_are_read(service: Service, authority: TestAuthority) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    def pem(kind: str, good: Reply) -> Reply:
        if kind != "pckcrl":
            return good
        return replace(good, content=x509.load_der_x509_crl(good.content).public_bytes(Encoding.PEM))

    service.change = pem
    with running(service, authority) as pccs:
        found = bytes.fromhex(json.loads(pccs.fetch(SGX))["pck_crl"])
    assert x509.load_der_x509_crl(found).issuer == service.intel.ca.subject


def test_service_with_a_wrong_ca_is_refused(service: Service, authority: TestAuthority, tmp_path: Path) -> None:
    other = TestAuthority(tmp_path / "other")
    with serve(service, authority.server()) as port, pytest.raises(CollateralUnavailable, match="certificate"):
        Pccs(f"https://localhost:{port}", ca_file=other.file).fetch(SGX)
    assert not service.paths


@pytest.mark.parametrize("url", ["http://pccs.example", "https://user@pccs.example", "https://pccs.example/?x=1"])
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ProviderSettingsInvalid):
        Pccs(url, ca_file=None)
