"""Enclave signing keys as SGX takes them, Secrets as Kubernetes takes them, and what PPML's lines recover."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from redoubt.errors import EnclaveKeyInvalid
from redoubt.pki.build import private_pem
from redoubt.pki.enclave import make_enclave_key, mrsigner, verify_enclave_key
from redoubt.pki.kubernetes import secret
from redoubt.pki.ppml import PASSWORD_FILE, PASSWORD_KEY_FILE, wrapped_password

KEY = make_enclave_key()


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- enclave keys -----------------------------------------------------------------------------------------------------
def test_enclave_key_is_what_openssl_genrsa_3_makes() -> None:
    ours = openssl("rsa", "-noout", "-text", stdin=KEY).decode()
    assert "3072 bit" in ours
    assert "publicExponent: 3 (0x3)" in ours
    assert KEY.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    theirs = openssl("genrsa", "-3", "3072")
    assert mrsigner(verify_enclave_key(theirs)) == mrsigner(theirs)


def test_mrsigner_is_the_digest_of_the_little_endian_modulus() -> None:
    """By OpenSSL's reading of the modulus, as the SDM describes it."""
    text = openssl("rsa", "-noout", "-modulus", stdin=KEY).decode().strip().partition("=")[2]
    assert mrsigner(KEY) == hashlib.sha256(bytes.fromhex(text)[::-1]).hexdigest()


def pkcs8(key: rsa.RSAPrivateKey, *, password: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def test_key_in_pkcs8_is_taken_and_written_as_pkcs1() -> None:
    key = load_pem_private_key(KEY, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert verify_enclave_key(pkcs8(key)) == KEY
    with pytest.raises(EnclaveKeyInvalid, match="without a password"):
        verify_enclave_key(pkcs8(key, password=b"secret"))


@pytest.mark.parametrize(("bits", "exponent"), [(3072, 65537), (2048, 3)])
def test_other_rsa_key_is_refused(bits: int, exponent: int) -> None:
    wrong = rsa.generate_private_key(public_exponent=exponent, key_size=bits)
    with pytest.raises(EnclaveKeyInvalid, match=f"{bits} bits and the exponent {exponent}"):
        verify_enclave_key(pkcs8(wrong))


def test_other_kind_of_key_is_refused() -> None:
    with pytest.raises(EnclaveKeyInvalid, match="not an RSA key"):
        mrsigner(private_pem(ec.generate_private_key(ec.SECP256R1())))


@given(st.binary(max_size=64) | st.integers(0, len(KEY) - 40).map(lambda at: KEY[:at]))
def test_anything_else_is_refused_as_an_enclave_key(text: bytes) -> None:
    with pytest.raises(EnclaveKeyInvalid):
        verify_enclave_key(text)


# --- Secrets ----------------------------------------------------------------------------------------------------------
_NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)


@given(st.dictionaries(_NAMES, st.binary(max_size=40), min_size=1, max_size=4))
def test_secret_holds_any_bytes(entries: dict[str, bytes]) -> None:
    """Also those whose base64 looks like a number, a date or a boolean of YAML, and names that look like one."""
    found = yaml.safe_load(secret("some-name", entries))
    assert found["metadata"] == {"name": "some-name"}
    assert {name: base64.b64decode(text, validate=True) for name, text in found["data"].items()} == entries


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_secret(version: str) -> None:
    text = secret("ssl-keys", {"keystore.jks": b"\xfe\xed", "server.key": b"key"})
    kubernetes_validate.validate(yaml.safe_load(text), version, strict=True)


def test_the_validator_would_notice() -> None:
    found = yaml.safe_load(secret("ssl-keys", {"a": b"b"}))
    for wrong in ({"data": ["a"]}, {"kind": "Secre"}, {"more": 1}):
        with pytest.raises((kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)):
            kubernetes_validate.validate(found | wrong, kubernetes_validate.latest_version(), strict=True)


# --- the password as BigDL PPML's submit lines recover it -------------------------------------------------------------
def test_openssl_rsautl_recovers_the_password(tmp_path: Path) -> None:
    files = wrapped_password("correct horse")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    encrypted = files[PASSWORD_FILE]
    line = ("rsautl", "-inkey", str(tmp_path / PASSWORD_KEY_FILE), "-decrypt")
    assert openssl(*line, stdin=encrypted) == b"correct horse"
