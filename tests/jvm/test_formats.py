"""The Java and the Python implementation of ``docs/format.md`` open what the other one wrote, and refuse alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from tests.jvm.conftest import code_of, java_of

from redoubt.crypto import chunked, hazmat, wrap
from redoubt.crypto.encoding import encode_fields
from redoubt.errors import RedoubtError
from redoubt.keys.names import KeyName
from redoubt.keys.types import Purpose, WrapContext, WrappedKey
from redoubt.limits import CHUNK_CIPHERTEXT_BYTES, CHUNK_PLAINTEXT_BYTES, PREAMBLE_BYTES, SLOT_OFFSETS
from redoubt.sealed.header import NIL, FilePurpose, Header
from redoubt.sealed.slots import KeySlot, Preamble

pytestmark = pytest.mark.spark

KEY = bytes(range(32))
#: Examples are few and cheap, but each crosses py4j several times.
fast = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

edges = st.one_of(
    st.integers(0, 3 * CHUNK_PLAINTEXT_BYTES),
    st.builds(lambda chunks, off: max(0, chunks * CHUNK_PLAINTEXT_BYTES + off), st.integers(0, 4), st.integers(-2, 2)),
)


@pytest.fixture(scope="session")
def java(spark: SparkSession) -> Any:
    return java_of(spark).io.redoubt


@pytest.fixture(scope="session")
def output(spark: SparkSession) -> Any:
    return java_of(spark).java.io.ByteArrayOutputStream


def open_in_java(java: Any, body: bytes, context: bytes) -> bytes:
    """Decrypt a body chunk by chunk, as the Java readers do."""
    key = java.crypto.BodyKey.open(KEY, context, body[:56])
    plain = b""
    for number, start in enumerate(range(56, len(body), CHUNK_CIPHERTEXT_BYTES)):
        chunk = body[start : start + CHUNK_CIPHERTEXT_BYTES]
        plain += key.decrypt(number, chunk)
    return plain


@fast
@given(size=edges, context=st.binary(max_size=80))
@example(size=0, context=b"")
@example(size=CHUNK_PLAINTEXT_BYTES, context=b"")
def test_java_opens_bodies_that_python_wrote(java: Any, size: int, context: bytes) -> None:
    plaintext = (bytes(range(251)) * (size // 251 + 1))[:size]
    body = hazmat.encrypt_with_salt(plaintext, data_key=KEY, context=context, salt=bytes(24))
    assert open_in_java(java, body, context) == plaintext


@fast
@given(size=edges, cut=st.integers(0, 20000), context=st.binary(max_size=80))
@example(size=2 * CHUNK_PLAINTEXT_BYTES, cut=1, context=b"")
def test_python_opens_bodies_that_java_wrote(java: Any, output: Any, size: int, cut: int, context: bytes) -> None:
    plaintext = (bytes(range(251)) * (size // 251 + 1))[:size]
    out = output()
    body = java.crypto.BodyEncryptor(KEY, context, out)
    for piece in (plaintext[:cut], plaintext[cut:]):
        body.write(piece, 0, len(piece))
    body.finish()
    assert chunked.decrypt(bytes(out.toByteArray()), data_key=KEY, context=context) == plaintext


def test_java_draws_a_fresh_salt_for_every_body(java: Any, output: Any) -> None:
    salts = set()
    for _ in range(3):
        out = output()
        java.crypto.BodyEncryptor(KEY, b"", out).finish()
        salts.add(bytes(out.toByteArray())[:24])
    assert len(salts) == 3


def test_a_finished_body_takes_no_more(java: Any, output: Any) -> None:
    body = java.crypto.BodyEncryptor(KEY, b"", output())
    body.finish()
    with pytest.raises(Py4JJavaError):
        body.write(b"more", 0, 4)


def test_body_of_another_key_context_or_prefix_is_refused(java: Any) -> None:
    body = hazmat.encrypt_with_salt(b"x", data_key=KEY, context=b"c", salt=bytes(24))
    for data_key, context, prefix in [
        (bytes(32), b"c", body[:56]),
        (KEY, b"d", body[:56]),
        (KEY, b"c", b"\1" + body[1:56]),
        (KEY, b"c", body[:55] + b"\1"),
    ]:
        with pytest.raises(Py4JJavaError) as caught:
            java.crypto.BodyKey.open(data_key, context, prefix)
        assert code_of(caught.value) == "sealed.commitment"


def test_chunk_that_was_flipped_or_moved_is_refused(java: Any) -> None:
    body = hazmat.encrypt_with_salt(bytes(2 * CHUNK_PLAINTEXT_BYTES), data_key=KEY, context=b"", salt=bytes(24))
    key = java.crypto.BodyKey.open(KEY, b"", body[:56])
    chunk = body[56 : 56 + CHUNK_CIPHERTEXT_BYTES]
    for number, data in [(1, chunk), (0, b"\1" + chunk[1:]), (0, chunk[:-1] + b"\1")]:
        with pytest.raises(Py4JJavaError) as caught:
            key.decrypt(number, data)
        assert code_of(caught.value) == "sealed.chunk"
    assert bytes(key.decrypt(0, chunk)) == bytes(CHUNK_PLAINTEXT_BYTES)


@pytest.mark.parametrize("fields", [(), (b"",), (b"a", b"bc")])
def test_subkeys_are_the_same(java: Any, fields: tuple[bytes, ...]) -> None:
    found = java.crypto.Subkey.derive(KEY, "parquet", list(fields))
    assert bytes(found) == wrap.subkey(KEY, label="parquet", fields=fields)


# --- headers ----------------------------------------------------------------------------------------------------------
COMMIT = UUID("8c7f6e5d-0000-4000-8000-0123456789ab")
HEADERS = [
    Header(FilePurpose.STANDALONE, uuid4(), uuid4(), NIL, "", "text/csv"),
    Header(FilePurpose.PART, uuid4(), uuid4(), COMMIT, f"data/{COMMIT}/größe-\U0001f600.csv", "text/csv"),
    Header(FilePurpose.COMMIT, uuid4(), uuid4(), COMMIT, "_commits/00000001", "application/vnd.redoubt.commit+json"),
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: str(header.purpose))
def test_headers_have_one_encoding(java: Any, header: Header) -> None:
    raw = header.encode()
    parsed = java.crypto.Header.parse(raw)
    assert bytes(parsed.encode()) == raw
    assert parsed.partName() == header.part_name
    assert parsed.datasetId().toString() == str(header.dataset_id)


def _raw(*fields: bytes, magic: bytes = b"\x93REDOUBT", version: int = 1) -> bytes:
    encoded = encode_fields(*fields)
    return magic + version.to_bytes(2, "big") + len(encoded).to_bytes(2, "big") + encoded


def _part(name: bytes) -> bytes:
    return _raw(b"part", bytes(16), bytes(16), COMMIT.bytes, name, b"text/csv", b"identity")


MALFORMED = {
    "other magic": _raw(magic=b"\x93REDOUBX"),
    "other version": _raw(version=2),
    "no fields": _raw(),
    "unknown purpose": _raw(b"parts", bytes(16), bytes(16), COMMIT.bytes, b"a", b"text/csv", b"identity"),
    "upper-case purpose": _raw(b"PART", bytes(16), bytes(16), COMMIT.bytes, b"a", b"text/csv", b"identity"),
    "part of no commit": _raw(b"part", bytes(16), bytes(16), bytes(16), b"a", b"text/csv", b"identity"),
    "standalone with name": _raw(b"standalone", bytes(16), bytes(16), bytes(16), b"a", b"text/csv", b"identity"),
    "standalone with commit": _raw(b"standalone", bytes(16), bytes(16), COMMIT.bytes, b"", b"text/csv", b"identity"),
    "short uuid": _raw(b"part", bytes(15), bytes(16), COMMIT.bytes, b"a", b"text/csv", b"identity"),
    "compression": _raw(b"part", bytes(16), bytes(16), COMMIT.bytes, b"a", b"text/csv", b"gzip"),
    "media type": _raw(b"part", bytes(16), bytes(16), COMMIT.bytes, b"a", b"Text/CSV", b"identity"),
    "extra field": _raw(b"part", bytes(16), bytes(16), COMMIT.bytes, b"a", b"text/csv", b"identity", b""),
    "empty name": _part(b""),
    "dot": _part(b"a/./b"),
    "dot dot": _part(b"../b"),
    "absolute": _part(b"/a"),
    "doubled slash": _part(b"a//b"),
    "trailing slash": _part(b"a/"),
    "backslash": _part(b"a\\b"),
    "control": _part(b"a\nb"),
    "c1 control": _part("a\u0085b".encode()),
    "not NFC": _part("e\u0301".encode()),
    "not UTF-8": _part(b"\xff"),
    "surrogate": _part(b"\xed\xa0\x80"),
    "long name": _part(b"a" * 1025),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_malformed_headers_are_refused_alike(java: Any, raw: bytes) -> None:
    with pytest.raises(RedoubtError) as expected:
        Header.parse(raw)
    with pytest.raises(Py4JJavaError) as caught:
        java.crypto.Header.parse(raw)
    assert code_of(caught.value) == expected.value.code


@fast
@given(name=st.text(max_size=40))
def test_part_names_are_judged_alike(java: Any, name: str) -> None:
    raw = _part(name.encode("utf-8", "surrogatepass"))

    def verdict(parse: Callable[[bytes], object]) -> str:
        try:
            parse(raw)
        except RedoubtError as error:
            return error.code
        except Py4JJavaError as error:
            return code_of(error)
        return "a name"

    assert verdict(java.crypto.Header.parse) == verdict(Header.parse)


# --- wrapped keys and key slots ---------------------------------------------------------------------------------------
def wrapped_key(header: Header) -> WrappedKey:
    context = WrapContext(header.dataset_id, header.data_key_id, Purpose.DATA)
    return WrappedKey(context, KeyName.parse("key:main/default.dev"), 2**32 - 1, "aes-256-gcm", bytes(60))


def test_wrapped_keys_have_one_encoding(java: Any) -> None:
    record = wrapped_key(HEADERS[0]).encode()
    assert bytes(java.keys.WrappedKey.decode(record).encode()) == record


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"wrapped-key/v1", b"wrapped-key/v2"),
        (b"\0\0\0\4data", b"\0\0\0\4date"),
        (b"key:main/default.dev", b"key:Main/default.dev"),
        (b"key:main/default.dev", b"key:main/default.sw."),
    ],
)
def test_malformed_wrapped_keys_are_refused(java: Any, old: bytes, new: bytes) -> None:
    record = wrapped_key(HEADERS[0]).encode()
    assert old in record
    with pytest.raises(Py4JJavaError) as caught:
        java.keys.WrappedKey.decode(record.replace(old, new))
    assert code_of(caught.value) == "sealed.header"


def test_preambles_have_one_encoding(java: Any) -> None:
    raw = Preamble.new(HEADERS[0], wrapped_key(HEADERS[0])).encode()
    parsed = java.sealed.StandalonePreamble.parse(raw)
    assert bytes(parsed.encode()) == raw


def test_the_higher_generation_counts(java: Any) -> None:
    preamble = Preamble.new(HEADERS[0], wrapped_key(HEADERS[0]))
    raw = bytearray(preamble.encode())
    for version in (7, 8, 9):
        preamble = Preamble.parse(bytes(raw))
        offset, slot = preamble.replacement(replace(wrapped_key(HEADERS[0]), version=version))
        raw[offset : offset + len(slot)] = slot
        assert java.sealed.StandalonePreamble.parse(bytes(raw)).wrappedKey().version() == version


def _preamble(*changes: tuple[int, bytes]) -> bytes:
    raw = bytearray(Preamble.new(HEADERS[0], wrapped_key(HEADERS[0])).encode())
    for offset, data in changes:
        raw[offset : offset + len(data)] = data
    return bytes(raw)


OTHER = Header(FilePurpose.STANDALONE, uuid4(), uuid4(), NIL, "", "text/csv")
_SLOT_0 = _preamble()[SLOT_OFFSETS[0] : SLOT_OFFSETS[1]]
DAMAGED = {
    "truncated": _preamble()[:-1],
    "padding": _preamble((3000, b"\1")),
    "flip in slot 0": _preamble((SLOT_OFFSETS[0] + 700, b"\1")),
    "flip in slot 1": _preamble((SLOT_OFFSETS[1] + 2000, b"\1")),
    "both empty": _preamble((SLOT_OFFSETS[0], bytes(2048))),
    "equal generations": _preamble((SLOT_OFFSETS[1], _SLOT_0)),
    "key of another file": _preamble((SLOT_OFFSETS[0], Preamble.new(OTHER, wrapped_key(OTHER)).encode()[4096:])),
    "older key of another file": _preamble(
        (SLOT_OFFSETS[0], Preamble.new(OTHER, wrapped_key(OTHER)).encode()[4096:6144]),
        (SLOT_OFFSETS[1], KeySlot(2, wrapped_key(HEADERS[0])).encode()),
    ),
    "a part": HEADERS[1].encode().ljust(PREAMBLE_BYTES, b"\0"),
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_damaged_preambles_are_refused_alike(java: Any, raw: bytes) -> None:
    with pytest.raises(RedoubtError) as expected:
        Preamble.parse(raw)
    with pytest.raises(Py4JJavaError) as caught:
        java.sealed.StandalonePreamble.parse(raw)
    assert code_of(caught.value) == expected.value.code


def test_every_java_code_is_one_of_the_error_tree(java: Any) -> None:
    def codes(family: type[RedoubtError]) -> set[str]:
        return {family.code}.union(*map(codes, family.__subclasses__()))

    assert {code.code() for code in java.ErrorCode.values()} <= codes(RedoubtError)
