"""JWE: opened by a decryptor written from the RFCs alone, laid out as Trustee's clients need it, and every refusal."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe as joserfc_jwe
from joserfc.jwk import ECKey
from tests.protocol.samples import KEY, RECIPIENT, base64url, from_base64url, json_values, mutate

from redoubt.errors import SecretRefused
from redoubt.protocol.jwe import PrivateKey, Recipient, decrypt, encrypt, public_jwk

RSA_KEY = rsa.generate_private_key(65537, 2048)
P521_KEY = ec.derive_private_key(77, ec.SECP521R1())
SECRET = b"a secret of any length"


# --- an independent decryptor -----------------------------------------------------------------------------------------
def concat_kdf(shared: bytes) -> bytes:
    """RFC 7518, 4.6.2: one round of SHA-256 for 256 bits, AlgorithmID with its length, empty party infos."""
    algorithm = b"ECDH-ES+A256KW"
    info = len(algorithm).to_bytes(4, "big") + algorithm + b"\0\0\0\0" + b"\0\0\0\0" + (256).to_bytes(4, "big")
    return hashlib.sha256(b"\0\0\0\1" + shared + info).digest()


def aes_kw_unwrap(kek: bytes, wrapped: bytes) -> bytes:
    """RFC 3394, 2.2.2, step by step."""
    blocks = [wrapped[at : at + 8] for at in range(0, len(wrapped), 8)]
    a, registers = blocks[0], blocks[1:]
    cipher = Cipher(algorithms.AES(kek), modes.ECB())
    for j in range(5, -1, -1):
        for i in range(len(registers), 0, -1):
            t = len(registers) * j + i
            decryptor = cipher.decryptor()
            block = decryptor.update((int.from_bytes(a) ^ t).to_bytes(8) + registers[i - 1])
            a, registers[i - 1] = block[:8], block[8:]
    assert a == b"\xa6" * 8
    return b"".join(registers)


def independent_decrypt(message: bytes, key: PrivateKey) -> bytes:
    body = json.loads(message)
    assert list(body) == ["protected", "encrypted_key", "iv", "ciphertext", "tag"]
    header = json.loads(from_base64url(body["protected"]))
    wrapped = from_base64url(body["encrypted_key"])
    if isinstance(key, rsa.RSAPrivateKey):
        cek = key.decrypt(wrapped, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None))
    else:
        epk = header["epk"]
        x, y = (int.from_bytes(from_base64url(epk[it])) for it in ("x", "y"))
        shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(x, y, key.curve).public_key())
        cek = aes_kw_unwrap(concat_kdf(shared), wrapped)
    ciphertext, tag = from_base64url(body["ciphertext"]), from_base64url(body["tag"])
    aad = body["protected"].encode("ascii")
    return AESGCM(cek).decrypt(from_base64url(body["iv"]), ciphertext + tag, aad)


@pytest.mark.parametrize("key", [KEY, P521_KEY, RSA_KEY], ids=["P-256", "P-521", "RSA"])
@pytest.mark.parametrize("secret", [b"", SECRET, bytes(100_000)], ids=["empty", "short", "long"])
def test_independent_decryptor_opens_it(key: PrivateKey, secret: bytes) -> None:
    message = encrypt(secret, Recipient.parse(public_jwk(key)))
    assert independent_decrypt(message, key) == secret
    assert decrypt(message, key) == secret


def test_a_library_opens_it() -> None:
    body = json.loads(encrypt(SECRET, RECIPIENT))
    compact = ".".join(body[it] for it in ("protected", "encrypted_key", "iv", "ciphertext", "tag"))
    opened = joserfc_jwe.decrypt_compact(compact, ECKey.import_key(KEY), algorithms=["ECDH-ES+A256KW", "A256GCM"])
    assert opened.plaintext == SECRET


def test_we_open_what_a_library_made() -> None:
    public = ECKey.import_key(KEY.public_key())
    header = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}
    compact = joserfc_jwe.encrypt_compact(header, SECRET, public, algorithms=["ECDH-ES+A256KW", "A256GCM"])
    names = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
    message = json.dumps(dict(zip(names, compact.split("."), strict=True))).encode()
    assert decrypt(message, KEY) == SECRET


@pytest.mark.parametrize("key", [KEY, P521_KEY, RSA_KEY])
def test_header_survives_the_respelling_of_trustees_clients(key: PrivateKey) -> None:
    """They parse ``protected`` and compute the AAD from the parsed value: alg, enc, then the rest with sorted names."""
    protected = json.loads(encrypt(SECRET, Recipient.parse(public_jwk(key))))["protected"]
    parsed = json.loads(from_base64url(protected))
    respelt = {"alg": parsed.pop("alg"), "enc": parsed.pop("enc")}
    respelt |= {name: dict(sorted(parsed[name].items())) for name in sorted(parsed)}
    assert base64url(json.dumps(respelt, separators=(",", ":")).encode()) == protected
    assert ("epk" in respelt) == isinstance(key, ec.EllipticCurvePrivateKey)


def test_two_messages_share_nothing() -> None:
    one, other = (json.loads(encrypt(SECRET, RECIPIENT)) for _ in range(2))
    assert all(one[name] != other[name] for name in one)


# --- keys that are refused --------------------------------------------------------------------------------------------
def test_rsa1_5_is_refused() -> None:
    with pytest.raises(SecretRefused, match="RSA1_5"):
        Recipient.parse({**public_jwk(RSA_KEY), "alg": "RSA1_5"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"alg": "dir"}, "not served"),
        ({"alg": "ECDH-ES"}, "not served"),
        ({"alg": "RSA-OAEP"}, "not served"),
        ({"kty": "oct"}, "not served"),
        ({"kty": "AKP"}, "not served"),
        ({"crv": "P-384"}, "curve"),
        ({"crv": "P-521"}, "length"),
        ({"d": "AAAA"}, "members"),
        ({"kid": "me"}, "members"),
        ({"x": 3}, "members"),
        ({"x": base64url(bytes(32))}, "point"),
        ({"x": base64url(bytes(31))}, "length"),
        ({"x": "!"}, "base64url"),
    ],
)
def test_other_keys_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(SecretRefused, match=reason):
        Recipient.parse({**public_jwk(KEY), **change})


@pytest.mark.parametrize("value", [None, [], "key", 3])
def test_what_is_no_key_is_refused(value: Any) -> None:
    with pytest.raises(SecretRefused):
        Recipient.parse(value)


def test_weak_rsa_is_refused() -> None:
    weak = {"kty": "RSA", "alg": "RSA-OAEP-256", "n": base64url(((1 << 1023) | 1).to_bytes(128)), "e": "AQAB"}
    with pytest.raises(SecretRefused, match="1024 bits"):
        Recipient.parse(weak)
    with pytest.raises(SecretRefused, match="no RSA key"):
        Recipient.parse({**public_jwk(RSA_KEY), "e": "AA"})


def test_rsa_key_with_an_exponent_that_no_library_uses_is_refused() -> None:
    """OpenSSL refused to encrypt, and the broker answered with an internal error."""
    key = {"kty": "RSA", "alg": "RSA-OAEP-256", "n": base64url((2**4095 + 1).to_bytes(512))}
    with pytest.raises(SecretRefused, match="no RSA key"):
        Recipient.parse({**key, "e": base64url((2**4094 + 1).to_bytes(512))})


def test_rsa_key_with_an_even_modulus_is_refused_before_anything_is_encrypted_to_it() -> None:
    """The library takes such a key, and then fails to encrypt: an attester had the broker's own error for it."""
    number = RSA_KEY.public_key().public_numbers().n - 1
    with pytest.raises(SecretRefused, match="no RSA key"):
        Recipient.parse({**public_jwk(RSA_KEY), "n": base64url(number.to_bytes(256))})


def test_a_curve_that_is_not_served_has_no_jwk() -> None:
    with pytest.raises(SecretRefused, match="secp384r1"):
        public_jwk(ec.generate_private_key(ec.SECP384R1()))


# --- messages that are refused ----------------------------------------------------------------------------------------
def changed_header(message: bytes, **changes: Any) -> bytes:
    body = json.loads(message)
    header = {**json.loads(from_base64url(body["protected"])), **changes}
    kept = {name: value for name, value in header.items() if value is not None}
    return json.dumps({**body, "protected": base64url(json.dumps(kept).encode())}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "RSA1_5"},
        {"alg": "RSA-OAEP-256"},
        {"alg": "dir"},
        {"enc": "A128CBC-HS256"},
        {"enc": None},
        {"epk": None},
        {"zip": "DEF"},
        {"crit": ["exp"]},
        {"apu": "AAAA"},
        {"epk": public_jwk(P521_KEY)},
        {"epk": {name: value for name, value in public_jwk(P521_KEY).items() if name != "alg"}},
        {"epk": []},
    ],
)
def test_headers_that_steer_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SecretRefused):
        decrypt(changed_header(encrypt(SECRET, RECIPIENT), **changes), KEY)


def test_ephemeral_key_off_the_curve_is_refused() -> None:
    numbers = {name: value for name, value in public_jwk(KEY).items() if name != "alg"}
    with pytest.raises(SecretRefused, match="point"):
        decrypt(changed_header(encrypt(SECRET, RECIPIENT), epk={**numbers, "y": numbers["x"]}), KEY)


def test_another_key_opens_nothing() -> None:
    for other in (ec.generate_private_key(ec.SECP256R1()), P521_KEY, RSA_KEY):
        with pytest.raises(SecretRefused):
            decrypt(encrypt(SECRET, RECIPIENT), other)
    with pytest.raises(SecretRefused, match="does not open"):
        decrypt(encrypt(SECRET, Recipient.parse(public_jwk(RSA_KEY))), rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize("part", ["protected", "encrypted_key", "iv", "ciphertext", "tag"])
def test_a_flipped_bit_in_any_part_is_refused(part: str) -> None:
    body = json.loads(encrypt(SECRET, RECIPIENT))
    raw = bytearray(from_base64url(body[part]))
    for at in range(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 1
        with pytest.raises(SecretRefused):
            decrypt(json.dumps({**body, part: base64url(bytes(flipped))}).encode(), KEY)


@pytest.mark.parametrize("extra", ["header", "unprotected", "aad", "recipients"])
def test_unprotected_members_are_refused(extra: str) -> None:
    body = json.loads(encrypt(SECRET, RECIPIENT))
    with pytest.raises(SecretRefused, match="members"):
        decrypt(json.dumps({**body, extra: {}}).encode(), KEY)


GOOD = encrypt(SECRET, RECIPIENT)


@given(st.binary(max_size=100))
def test_bytes_that_are_no_message(garbage: bytes) -> None:
    with pytest.raises(SecretRefused):
        decrypt(garbage, KEY)


@settings(max_examples=200)
@given(st.data(), json_values)
def test_nothing_but_secret_refused_comes_out(data: st.DataObject, value: Any) -> None:
    body = json.loads(GOOD)
    header = json.loads(from_base64url(body["protected"]))
    if data.draw(st.booleans()):
        body["protected"] = base64url(json.dumps(mutate(header, data, value)).encode())
    else:
        mutate(body, data, value)
    said = ""
    try:
        decrypt(json.dumps(body).encode(), KEY)
    except SecretRefused as error:
        said = error.explain()
    assert SECRET.decode() not in said


@given(st.data(), json_values)
def test_keys_are_parsed_or_refused(data: st.DataObject, value: Any) -> None:
    try:
        Recipient.parse(mutate(dict(public_jwk(KEY)), data, value))
    except SecretRefused:
        return
