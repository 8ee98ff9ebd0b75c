"""Data keys that a vault or an eHSM wrapped, opened by peers that check what the real ones check."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.crypto import legacy_writer as writer
from tests.keys.peers.azure import Azure, VaultKey, b64, unb64
from tests.keys.peers.ehsm import Ehsm, EhsmKey
from tests.keys.peers.tls import Reply, Request, TestAuthority, serve

from redoubt.compat.names import Service
from redoubt.compat.unwrap import service
from redoubt.errors import (
    LegacyKeyInvalid,
    LegacyKeyWrong,
    LegacyUnsupported,
    ProviderDenied,
    ProviderKeyMissing,
    ProviderSettingsInvalid,
)

RAW = bytes(range(32))
KEY_ID = "12345678-1234-1234-1234-123456789012"


@pytest.fixture(scope="module")
def private() -> RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class OldVault(Azure):
    """A vault whose keys were made for RSA-OAEP with SHA-1."""

    def _operate(self, name: str, version: str, operation: str, request: Request) -> Reply:
        key = self.keys.get(name)
        if key is None or key.version != version:
            return Reply.of({"error": {"code": "KeyNotFound"}}, 404)
        if operation != "unwrapkey" or request.json["alg"] != "RSA-OAEP":
            return Reply.of({"error": {"code": "BadParameter"}}, 400)
        try:
            plain = key.key.decrypt(unb64(request.json["value"]), padding.OAEP(padding.MGF1(SHA1()), SHA1(), None))
        except ValueError:
            return Reply.of({"error": {"code": "BadParameter"}}, 400)
        return Reply.of({"kid": self._kid(key), "value": b64(plain)})


def test_a_vault_opens_what_it_wrapped_and_nothing_else(tmp_path: Path, private: RSAPrivateKey) -> None:
    vault, authority = OldVault("https://localhost"), TestAuthority(tmp_path)
    vault.keys["key-1234"] = VaultKey("key-1234", "a1", "RSA", private, ["unwrapKey"])
    with ExitStack() as stack:
        port = stack.enter_context(serve(vault.vault, authority.server()))
        imds = ("127.0.0.1", stack.enter_context(serve(vault.imds, None)))
        vault.url = f"https://localhost:{port}"
        settings = {"domain": "localhost", "ca": str(authority.file)}
        primary = tmp_path / "primaryKey"

        def opened(url: str, wrapped: str, **changes: str) -> str:
            primary.write_text(url + "\n")
            return service(Service.AZURE, primary, settings={**settings, **changes}, imds=imds)(wrapped).text

        wrapped = writer.wrap_rsa(private.public_key(), RAW)
        assert opened(f"{vault.url}/keys/key-1234/a1", wrapped) == writer.AZURE_KEY
        with pytest.raises(LegacyKeyWrong):
            opened(f"{vault.url}/keys/key-1234/a1", base64.b64encode(bytes(256)).decode())
        with pytest.raises(ProviderKeyMissing):
            opened(f"{vault.url}/keys/other/a1", wrapped)
        for url in ("key-1234", f"{vault.url}/keys/key-1234", f"{vault.url}/secrets/key-1234/a1"):
            with pytest.raises(LegacyKeyInvalid):
                opened(url, wrapped)
        issued = vault.tokens_issued
        with pytest.raises(ProviderSettingsInvalid):  # whoever can write the key file must not choose who gets a token
            opened("https://evil.example/keys/key-1234/a1", wrapped)
        assert vault.tokens_issued == issued


def test_an_ehsm_opens_what_it_wrapped_and_nothing_else(tmp_path: Path) -> None:
    ehsm, authority = Ehsm(), TestAuthority(tmp_path)
    appid, api_key = ehsm.enroll()
    ehsm.keys[KEY_ID] = EhsmKey(appid, RAW)
    key_file, primary = tmp_path / "apikey", tmp_path / "primaryKey"
    key_file.touch(mode=0o600)
    key_file.write_text(api_key + "\n")
    primary.write_text(KEY_ID + "\n")
    with serve(ehsm, authority.server()) as port:
        settings = {"url": f"https://localhost:{port}", "ca": str(authority.file), "appid": appid}
        settings["apikey_file"] = str(key_file)
        encrypt = {"keyid": KEY_ID, "plaintext": writer.AZURE_KEY, "aad": "test"}
        wrapped = ehsm._Encrypt(appid, encrypt)
        ciphertext = wrapped_text(wrapped)
        unwrap = service(Service.EHSM, primary, settings=settings)
        assert unwrap(ciphertext).text == writer.AZURE_KEY
        with pytest.raises(LegacyKeyWrong):
            unwrap(base64.b64encode(bytes(60)).decode())
        key_file.write_text("another\n")
        with pytest.raises(ProviderDenied):
            service(Service.EHSM, primary, settings=settings)(ciphertext)
        with pytest.raises(LegacyKeyInvalid):
            service(Service.EHSM, primary, settings={"url": settings["url"]})


def wrapped_text(reply: Reply) -> str:

    text = json.loads(reply.content)["result"]["ciphertext"]
    assert isinstance(text, str)
    return text


def test_an_exported_key_is_read_from_a_private_file_only(tmp_path: Path, private: RSAPrivateKey) -> None:
    pem = tmp_path / "key.pem"
    pem.touch(mode=0o600)
    pem.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    wrapped = writer.wrap_rsa(private.public_key(), RAW)
    assert service(Service.RSA, pem, settings={})(wrapped).text == writer.AZURE_KEY
    pem.chmod(0o644)
    with pytest.raises(LegacyKeyInvalid):
        service(Service.RSA, pem, settings={})
    pem.chmod(0o600)
    pem.write_text("no key")
    with pytest.raises(LegacyKeyInvalid):
        service(Service.RSA, pem, settings={})


def test_the_predecessors_key_server_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(LegacyUnsupported):
        service(Service.BIGDL, tmp_path / "any", settings={})
