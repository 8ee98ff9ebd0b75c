"""Files of BigDL PPML that an independent writer made are read right; each changed one is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.crypto import legacy_writer as writer
from tests.crypto.legacy_writer import AZURE_KEY, PLAIN_KEY, SIMPLE_PRIMARY, Memory

from redoubt.crypto.legacy_bigdl import GenA, GenB, open_native
from redoubt.crypto.legacy_cbc import CheckedBody, Coverage
from redoubt.crypto.legacy_fernet import open_fernet
from redoubt.crypto.legacy_keys import (
    DataKeyText,
    aes_key,
    key_line,
    meta_key,
    unwrap_plain_text,
    unwrap_rsa,
    unwrap_simple,
)
from redoubt.errors import (
    LegacyAmbiguous,
    LegacyError,
    LegacyFormatUnknown,
    LegacyKeyInvalid,
    LegacyKeyWrong,
    LegacyTampered,
    LegacyTruncated,
    LegacyUnauthenticated,
)
from redoubt.limits import LEGACY_SEGMENT_BYTES

KEY = DataKeyText(AZURE_KEY)
OTHER = DataKeyText(base64.b64encode(bytes(32)).decode())
RAW = bytes(range(32))
PEOPLE = b"name,age,job\njack,18,Developer\nalex,20,Researcher\nxuoui,25,Developer\n"
texts = st.sampled_from([AZURE_KEY, PLAIN_KEY, writer.simple_key()[1]])
plains = st.binary(max_size=200)


def read_a(data: bytes, key: DataKeyText = KEY, *, bits: int | None = 128) -> bytes:
    source = Memory(data)
    return b"".join(GenA.parse(source).open(source, key, aes_bits=bits).blocks())


def read_b(data: bytes, key: DataKeyText = KEY, *, wrapped: str | None = None) -> bytes:
    source = Memory(data)
    return b"".join(GenB.parse(source).open(source, key, wrapped=wrapped).blocks())


def read_native(data: bytes, key: str = AZURE_KEY) -> bytes:
    return b"".join(open_native(Memory(data), key, accept_unauthenticated=True).blocks())


def read_fernet(data: bytes, key: str = AZURE_KEY) -> bytes:
    return open_fernet(Memory(data), key)


#: Name, file, reader. The MAC of each covers its whole ciphertext.
WITH_MAC: list[tuple[str, bytes, Callable[[bytes], bytes]]] = [
    ("gen-a", writer.gen_a(AZURE_KEY, PEOPLE), read_a),
    ("gen-b", writer.gen_b(AZURE_KEY, PEOPLE, wrapped="d3JhcHBlZA=="), read_b),
    ("fernet", writer.fernet(RAW, PEOPLE), read_fernet),
]
each_with_mac = pytest.mark.parametrize(("data", "read"), [it[1:] for it in WITH_MAC], ids=[it[0] for it in WITH_MAC])


# --- read right -------------------------------------------------------------------------------------------------------
@given(plain=plains, text=texts, short=st.booleans(), bits=st.sampled_from([128, 256]))
def test_gen_a_is_read_as_it_was_written(plain: bytes, text: str, short: bool, bits: int) -> None:
    data = writer.gen_a(text, plain, bits=bits, short=short)
    source = Memory(data)
    opened = GenA.parse(source).open(source, DataKeyText(text), aes_bits=bits)
    assert b"".join(opened.blocks()) == plain
    assert opened.plaintext_length == len(plain)
    assert (opened.coverage, opened.aes_bits) == (Coverage.SHORT if short else Coverage.WHOLE, bits)


@given(plain=plains, text=texts, short=st.booleans(), wrapped=st.text("abcXYZ019+/=", max_size=376))
def test_gen_b_is_read_as_it_was_written(plain: bytes, text: str, short: bool, wrapped: str) -> None:
    source = Memory(writer.gen_b(text, plain, wrapped=wrapped, short=short))
    header = GenB.parse(source)
    assert header.wrapped == wrapped
    assert b"".join(header.open(source, DataKeyText(text), wrapped=wrapped or None).blocks()) == plain


@given(plain=plains, size=st.sampled_from([16, 24, 32]))
def test_native_is_read_as_it_was_written(plain: bytes, size: int) -> None:
    assert read_native(writer.native(RAW[:size], plain), base64.b64encode(RAW[:size]).decode()) == plain


@given(plain=plains)
def test_fernet_is_read_as_it_was_written(plain: bytes) -> None:
    assert read_fernet(writer.fernet(RAW, plain)) == plain
    assert read_fernet(writer.fernet(RAW, plain) + b"\n") == plain


def test_which_aes_gen_a_used_is_found_by_its_padding() -> None:
    for bits in (128, 256):
        source = Memory(writer.gen_a(AZURE_KEY, PEOPLE, bits=bits))
        assert GenA.parse(source).open(source, KEY).aes_bits == bits


def test_a_file_that_fits_both_aes_is_refused_until_somebody_says_which() -> None:
    for number in range(5000):
        data = writer.gen_a(AZURE_KEY, b"%d" % number)
        try:
            assert read_a(data, bits=None) == b"%d" % number
        except LegacyAmbiguous:
            assert read_a(data, bits=128) == b"%d" % number
            return
    raise AssertionError("none of 5000 files fits both")


def test_a_file_of_several_segments_is_read_whole() -> None:
    plain = bytes(range(256)) * (LEGACY_SEGMENT_BYTES // 128) + b"end"
    assert read_b(writer.gen_b(AZURE_KEY, plain, short=True)) == plain


# --- refused ----------------------------------------------------------------------------------------------------------
@each_with_mac
def test_a_changed_byte_of_content_or_mac_is_refused(data: bytes, read: Callable[[bytes], bytes]) -> None:
    start = {read_a: 25, read_b: 400}.get(read, 40)  # the headers of gen-A and gen-B have tests of their own
    for place in range(start, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 if read is not read_fernet else 3
        with pytest.raises(LegacyError):
            read(bytes(changed))


@each_with_mac
def test_a_truncated_file_is_refused(data: bytes, read: Callable[[bytes], bytes]) -> None:
    for length in range(len(data)):
        with pytest.raises((LegacyTruncated, LegacyTampered, LegacyFormatUnknown)):
            read(data[:length])
    with pytest.raises(LegacyTruncated):
        read(data[:-1])


@each_with_mac
def test_an_extended_file_is_refused(data: bytes, read: Callable[[bytes], bytes]) -> None:
    for more in (b"\0", bytes(16), data[-16:]):
        with pytest.raises(LegacyError):
            read(data + more)


def test_another_data_key_is_refused() -> None:
    for read, data in ((read_a, writer.gen_a(AZURE_KEY, PEOPLE)), (read_b, writer.gen_b(AZURE_KEY, PEOPLE))):
        with pytest.raises(LegacyTampered, match="MAC"):
            read(data, OTHER)
    with pytest.raises(LegacyTampered):
        read_fernet(writer.fernet(RAW, PEOPLE), OTHER.text)
    with pytest.raises(LegacyKeyWrong):
        read_native(writer.native(RAW, PEOPLE), OTHER.text)


def test_a_changed_wrapped_key_in_the_header_is_refused() -> None:
    data = writer.gen_b(AZURE_KEY, PEOPLE, wrapped="d3JhcHBlZA==")
    assert read_b(data, wrapped="d3JhcHBlZA==") == PEOPLE
    with pytest.raises(LegacyKeyWrong):
        read_b(data.replace(b"d3Jh", b"d3Jx"), wrapped="d3JhcHBlZA==")
    longer = data[:3] + bytes([data[3] + 1]) + data[4:]  # and so the IV begins a byte later
    with pytest.raises(LegacyKeyWrong):
        read_b(longer, wrapped="d3JhcHBlZA==")


@pytest.mark.parametrize("place", [0, 1, 2, 4, 7, 36, 399])
def test_a_changed_length_or_filling_in_the_header_is_refused(place: int) -> None:
    data = bytearray(writer.gen_b(AZURE_KEY, PEOPLE, wrapped="d3JhcHBlZA=="))
    data[place] ^= 0x01
    with pytest.raises(LegacyFormatUnknown):
        read_b(bytes(data))


@pytest.mark.parametrize("place", range(5))
def test_a_changed_version_or_an_impossible_time_is_refused(place: int) -> None:
    data = bytearray(writer.gen_a(AZURE_KEY, PEOPLE))
    data[place] ^= 0xFF
    with pytest.raises(LegacyFormatUnknown):
        read_a(bytes(data))


def test_a_changed_iv_changes_the_first_block_alone_and_no_mac_sees_it() -> None:
    """What the layout does not protect, and ``docs/compat.md`` says so: this is no property that we give."""
    data = bytearray(writer.gen_b(AZURE_KEY, PEOPLE))
    data[8] ^= 1
    changed = read_b(bytes(data))
    assert changed != PEOPLE
    assert changed[16:] == PEOPLE[16:]


def test_native_files_are_read_on_purpose_only() -> None:
    with pytest.raises(LegacyUnauthenticated):
        open_native(Memory(writer.native(RAW, PEOPLE)), AZURE_KEY, accept_unauthenticated=False)
    for length in (0, 15, 16, 31, 33):
        with pytest.raises(LegacyTruncated):
            read_native(writer.native(RAW, PEOPLE)[:length])


def test_a_mac_whose_key_is_published_counts_as_none() -> None:
    """Early writers of gen-A used the MAC key as IV, which stands in the header."""
    source = Memory(writer.gen_a(AZURE_KEY, PEOPLE, iv=KEY.mac_key))
    with pytest.raises(LegacyUnauthenticated):
        GenA.parse(source).open(source, KEY, aes_bits=128)
    opened = GenA.parse(source).open(source, KEY, aes_bits=128, accept_unauthenticated=True)
    assert b"".join(opened.blocks()) == PEOPLE


@pytest.mark.parametrize("opener", ["gen-a", "gen-b", "native"])
def test_a_file_that_changes_between_check_and_reading_yields_nothing_of_the_change(opener: str) -> None:
    data = {
        "gen-a": writer.gen_a(AZURE_KEY, PEOPLE),
        "gen-b": writer.gen_b(AZURE_KEY, PEOPLE),
        "native": writer.native(RAW, PEOPLE),
    }[opener]
    source = Memory(data)
    opened: CheckedBody
    if opener == "native":
        opened = open_native(source, AZURE_KEY, accept_unauthenticated=True)
    elif opener == "gen-a":
        opened = GenA.parse(source).open(source, KEY, aes_bits=128)
    else:
        opened = GenB.parse(source).open(source, KEY)
    changed = bytearray(data)
    changed[-40] ^= 1
    source.data = bytes(changed)
    with pytest.raises(LegacyTampered, match="changed while"):
        list(opened.blocks())


@given(data=st.binary(max_size=600))
@settings(max_examples=200)
def test_strange_files_raise_legacy_errors_only(data: bytes) -> None:
    for read in (read_a, read_b, read_native, read_fernet):
        with pytest.raises(LegacyError):
            read(data)


@given(data=st.binary(max_size=300), place=st.integers(0, 24), other=st.integers(1, 255))
def test_strange_headers_never_change_what_is_read(data: bytes, place: int, other: int) -> None:
    """Whatever a header says, what is read is what was written, or, for a changed IV, differs in its first block."""
    changed = bytearray(writer.gen_a(AZURE_KEY, data))
    changed[place] ^= other
    try:
        assert read_a(bytes(changed))[16:] == data[16:]
    except LegacyError:
        assert place < 9 or len(data) < 16


# --- keys -------------------------------------------------------------------------------------------------------------
def test_keys_of_the_simple_service_are_unwrapped_from_both_forms_of_its_file() -> None:
    wrapped, text = writer.simple_key()
    assert unwrap_simple(SIMPLE_PRIMARY, wrapped).text == text
    codes = "".join(str(ord(it)) for it in wrapped)
    # The predecessor reads the first sixteen characters of the codes as if they were digits.
    assert len(unwrap_simple(SIMPLE_PRIMARY, codes).text) == 32
    with pytest.raises(LegacyKeyInvalid):
        unwrap_simple(SIMPLE_PRIMARY[:12], wrapped)
    with pytest.raises(LegacyKeyInvalid):
        unwrap_simple(SIMPLE_PRIMARY, "d3JhcHBlZA==")


def test_keys_that_aes_wrapped_open_under_their_primary_key_only() -> None:
    wrapped = writer.wrap_plain_text(RAW[:16], PLAIN_KEY)
    assert unwrap_plain_text(base64.b64encode(RAW[:16]).decode(), wrapped).text == PLAIN_KEY
    with pytest.raises(LegacyKeyWrong):
        unwrap_plain_text(base64.b64encode(bytes(16)).decode(), wrapped)
    with pytest.raises(LegacyKeyInvalid):
        unwrap_plain_text("c2hvcnQ=", wrapped)
    with pytest.raises(LegacyKeyInvalid):
        unwrap_plain_text(AZURE_KEY, "d3JhcHBlZA==")


def test_keys_that_rsa_wrapped_open_under_their_key_only() -> None:
    one, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    wrapped = writer.wrap_rsa(one.public_key(), RAW)
    assert unwrap_rsa(one, wrapped).text == AZURE_KEY
    with pytest.raises(LegacyKeyWrong):
        unwrap_rsa(other, wrapped)


@pytest.mark.parametrize(
    ("text", "bits", "strength"),
    [(PLAIN_KEY, 128, 32), (AZURE_KEY, 128, 96), (AZURE_KEY, 256, 160), (writer.simple_key()[1], 128, 26)],
)
def test_the_strength_of_a_key_is_what_nobody_can_know(text: str, bits: int, strength: int) -> None:
    assert DataKeyText(text).strength(bits) == strength


def test_a_key_never_prints_itself() -> None:
    source = Memory(writer.gen_b(AZURE_KEY, PEOPLE))
    shown = repr(KEY) + repr(GenB.parse(source).open(source, KEY))
    assert AZURE_KEY[:16] not in shown
    assert repr(KEY.aes_key(128)) not in shown


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"a\nb\n", b"\xff", b"a" * 5000])
def test_a_key_file_is_one_line_of_visible_ascii(content: bytes) -> None:
    with pytest.raises(LegacyKeyInvalid):
        key_line(content, what="it")
    assert key_line(b"key\r\n", what="it") == "key"


def test_a_folders_meta_names_one_key() -> None:
    assert meta_key(b'{\n  "encryptedDataKey" : "abc="\n}\n', what="it") == "abc="
    strange = (
        b"{}",
        b'{"encryptedDataKey": 1}',
        b'{"encryptedDataKey": "a", "x": 1}',
        b"[]",
        b'{"encryptedDataKey": ""}',
    )
    for content in strange:
        with pytest.raises(LegacyKeyInvalid):
            meta_key(content, what="it")


def test_aes_keys_have_a_length_of_aes() -> None:
    assert aes_key(AZURE_KEY) == RAW
    for text in ("", "AAAA", "!!!!", PLAIN_KEY.rstrip("=")):
        with pytest.raises(LegacyKeyInvalid):
            aes_key(text)
    with pytest.raises(LegacyKeyInvalid):
        DataKeyText("short")
