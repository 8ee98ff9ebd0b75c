"""The client of key services: addresses, kept connections, forks, credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.keys.peers.tls import Reply, Request, TestAuthority, serve

from redoubt.errors import NotFound, ProviderAnswerInvalid, ProviderSettingsInvalid, RedoubtError
from redoubt.keys.credentials import check_credential, read_credential, read_pin, read_projected_token
from redoubt.keys.https import Address, JsonClient, https_client
from redoubt.limits import MAX_CREDENTIAL_BYTES


# --- addresses --------------------------------------------------------------------------------------------------------
@given(st.text(max_size=40).map(lambda text: text) | st.text(max_size=30).map(lambda text: "https://" + text))
def test_any_text_is_an_address_that_spells_itself_or_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except ProviderSettingsInvalid:
        return
    assert str(address) in (text, text.rstrip("/"), text.removesuffix("/").removesuffix(":443"))
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("url", ["https://a", "https://a.b-c.example:8443", "https://127.0.0.1:1", "https://a/b/c.d"])
def test_plain_addresses_are_read(url: str) -> None:
    assert str(Address.parse(url)) == url


@pytest.mark.parametrize("url", ["https://a/../b", "https://a/b%2f", "https://a//b", "https://[::1]", "https://a\\@b"])
def test_addresses_with_a_second_reading_are_refused(url: str) -> None:
    with pytest.raises(ProviderSettingsInvalid):
        Address.parse(url)


# --- connections ------------------------------------------------------------------------------------------------------
@dataclass
class Service:
    client: JsonClient
    seen: list[Request] = field(default_factory=list)
    reply: Reply = field(default_factory=lambda: Reply.of({"ok": True}))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    authority = TestAuthority(tmp_path)
    running: list[Service] = []

    def answer(request: Request) -> Reply:
        running[0].seen.append(request)
        return running[0].reply

    with serve(answer, authority.server()) as port:
        address = Address.parse(f"https://localhost:{port}")
        running.append(Service(https_client(address, ca_file=authority.file)))
        yield running[0]


def test_connection_that_the_service_closed_meanwhile_is_replaced(service: Service) -> None:
    service.reply = Reply(200, b"{}", {"Connection": "close"})
    service.client.call("GET", "/a")
    service.reply = Reply.of({})
    service.client.call("GET", "/b")
    (kept,) = service.client._idle
    kept.sock.close()
    kept.sock = None  # http.client opens it anew
    service.client.call("GET", "/c")
    assert [request.path for request in service.seen] == ["/a", "/b", "/c"]


def test_child_process_does_not_use_its_parents_connection(service: Service) -> None:
    service.client.call("GET", "/parent")
    (kept,) = service.client._idle
    child = os.fork()
    if child == 0:
        try:
            service.client.call("GET", "/child")
            os._exit(0 if kept not in service.client._idle else 1)
        except BaseException:  # noqa: BLE001 - a child must not run the rest of the tests
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert service.client.call("GET", "/parent").body == {"ok": True}
    assert service.client._idle == [kept]


def test_proxy_of_the_environment_is_not_taken(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert service.client.call("GET", "/").status == 200


def test_answer_that_lies_about_its_length_is_refused(service: Service) -> None:
    service.reply = Reply(200, b"zz\r\n", {"Transfer-Encoding": "chunked"})
    with pytest.raises(RedoubtError):
        service.client.call("GET", "/")


@given(st.binary(max_size=60))
def test_any_content_is_one_object_or_refused(content: bytes) -> None:
    from redoubt.crypto.strict_json import parse_object

    try:
        found = parse_object(content, what="it", limit=50, refusal=ProviderAnswerInvalid)
    except ProviderAnswerInvalid:
        return
    assert isinstance(found, dict)
    assert len(content) <= 50


def test_ca_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    for content in (
        b"",
        b"nothing",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        bytes(2**20 + 1),
    ):
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(ProviderSettingsInvalid):
            https_client(Address.parse("https://a"), ca_file=tmp_path / "ca.pem")


# --- credentials ------------------------------------------------------------------------------------------------------
@given(st.binary(max_size=40))
def test_any_bytes_are_one_visible_line_or_no_credential(content: bytes) -> None:
    try:
        text = check_credential(content, what="it")
    except ProviderSettingsInvalid:
        return
    assert content.rstrip(b"\r\n") == text.encode("ascii")
    assert text.isprintable()
    assert " " not in text


def test_projected_token_may_be_a_public_link_and_other_credentials_not(tmp_path: Path) -> None:
    (tmp_path / "..data").write_text("header.payload.signature\n")
    (tmp_path / "..data").chmod(0o644)
    (tmp_path / "token").symlink_to("..data")
    assert read_projected_token(tmp_path / "token", what="the token") == "header.payload.signature"
    with pytest.raises(ProviderSettingsInvalid):
        read_credential(tmp_path / "token", what="the token")
    for wrong in (tmp_path, tmp_path / "fifo"):
        if wrong.name == "fifo":
            os.mkfifo(wrong)
        with pytest.raises(ProviderSettingsInvalid):
            read_projected_token(wrong, what="the token")
    (tmp_path / "..data").write_bytes(b"x" * (MAX_CREDENTIAL_BYTES + 1))
    with pytest.raises(ProviderSettingsInvalid):
        read_projected_token(tmp_path / "token", what="the token")
    with pytest.raises(NotFound):
        read_projected_token(tmp_path / "none", what="the token")


def test_pin_needs_a_source_that_can_be_read() -> None:
    for descriptor in (None, 9876):
        with pytest.raises(ProviderSettingsInvalid):
            read_pin(file=None, descriptor=descriptor)
