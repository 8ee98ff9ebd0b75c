"""The parser of the plaintext end of encrypted Parquet files: what it accepts, and that nothing else escapes it."""

from __future__ import annotations

import io
import struct
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.errors import HeaderInvalid, IdentityMismatch, KeyError_, PlaintextRefused, RedoubtError
from redoubt.sealed.commit import Part, PartKind
from redoubt.sealed.parquet_keys import MasterKeyId, parse_footer_material
from redoubt.sealed.parquet_tail import (
    Algorithm,
    CryptoMetadata,
    aad_prefix,
    add_key_metadata,
    check_identity,
    parse_crypto_metadata,
    read_crypto_metadata,
)

DATASET = UUID("00000000-0000-4000-8000-000000000001")
COMMIT = UUID("00000000-0000-4000-8000-000000000002")
NAME = f"data/{COMMIT}/g=1/part-0.parquet"
PREFIX = aad_prefix(dataset_id=DATASET, commit_id=COMMIT, algorithm=Algorithm.GCM, name=NAME)
MATERIAL = b'{"keyMaterialType":"PKMT1"}'
UNIQUE = b"\1\2\3\4\5\6\7\x08"


def binary(head: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes([head, len(value)]) + value


#: FileCryptoMetaData{AES_GCM_V1{aad_prefix, aad_file_unique, supply_aad_prefix=false}, key_metadata}, by hand.
VALID = (
    bytes([0x1C, 0x1C])
    + binary(0x18, PREFIX[:100])
    + binary(0x18, UNIQUE)
    + bytes([0x12, 0, 0])
    + binary(0x18, MATERIAL)
    + b"\0"
)


class Memory:
    """Bytes as a random-access file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_into(self, offset: int, out: memoryview) -> int:
        piece = self.data[offset : offset + len(out)]
        out[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        pass


def encrypted_file(algorithm: Algorithm = Algorithm.GCM, prefix: bytes = PREFIX) -> bytes:
    out = io.BytesIO()
    properties = pe.create_encryption_properties(
        b"k" * 32, aad_prefix=prefix, store_aad_prefix=True, encryption_algorithm=algorithm.value
    )
    pq.write_table(pa.table({"x": [1, 2, 3]}), out, encryption_properties=properties)
    return out.getvalue()


def footer_of(file: bytes) -> bytes:
    (length,) = struct.unpack("<I", file[-8:-4])
    return file[-8 - length :]


def part(**changes: object) -> Part:
    fields: dict[str, object] = {
        "name": NAME,
        "kind": PartKind.PARQUET,
        "commit": COMMIT,
        "key": COMMIT,
        "owner": DATASET,
        "length": 1,
        "prefix": "",
        "sha256": "0" * 64,
        "media_type": "application/vnd.apache.parquet",
    }
    return Part(**{**fields, **changes})  # type: ignore[arg-type]


# --- what is accepted -------------------------------------------------------------------------------------------------
def test_the_specified_structure_is_read() -> None:
    found = parse_crypto_metadata(VALID + b"encrypted footer", where="x")
    assert found == CryptoMetadata(Algorithm.GCM, PREFIX[:100], MATERIAL, len(VALID))


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_key_metadata_is_added_to_what_pyarrow_writes(algorithm: Algorithm) -> None:
    file = encrypted_file(algorithm)
    footer = footer_of(file)
    spliced = file[: -len(footer)] + add_key_metadata(footer, MATERIAL * 10)
    found = read_crypto_metadata(Memory(spliced), where="x")
    assert (found.algorithm, found.aad_prefix, found.key_metadata) == (algorithm, PREFIX, MATERIAL * 10)
    properties = pe.create_decryption_properties(b"k" * 32, aad_prefix=PREFIX)
    assert pq.read_table(pa.BufferReader(spliced), decryption_properties=properties).num_rows == 3


def test_key_metadata_is_added_once_only() -> None:
    spliced = add_key_metadata(footer_of(encrypted_file()), MATERIAL)
    with pytest.raises(HeaderInvalid):
        add_key_metadata(spliced, MATERIAL)


# --- identity ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"name": f"data/{COMMIT}/g=2/part-0.parquet"},
        {"commit": DATASET},
        {"owner": COMMIT},
    ],
    ids=["another partition", "another commit", "another dataset"],
)
def test_a_file_that_states_another_identity_is_refused(changes: dict[str, object]) -> None:
    found = CryptoMetadata(Algorithm.GCM, PREFIX, MATERIAL, 1)
    check_identity(found, part())
    with pytest.raises(IdentityMismatch):
        check_identity(found, part(**changes))


def test_a_downgrade_to_the_unauthenticated_algorithm_is_refused() -> None:
    with pytest.raises(IdentityMismatch):
        check_identity(CryptoMetadata(Algorithm.GCM_CTR, PREFIX, MATERIAL, 1), part())


# --- what is refused --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "content",
    [b"", b"PARE", b"PAR1" + b"x" * 100 + b"\x20\0\0\0PAR1", b"x,y\n1,2\n" * 10],
    ids=["empty", "magic only", "plaintext Parquet", "text"],
)
def test_a_file_that_is_not_encrypted_parquet_is_refused(content: bytes) -> None:
    with pytest.raises(PlaintextRefused):
        read_crypto_metadata(Memory(content), where="x")


@pytest.mark.parametrize("length", [97, 2**31 - 1, 2**32 - 1])
def test_a_footer_longer_than_the_file_is_refused(length: int) -> None:
    with pytest.raises(HeaderInvalid):
        read_crypto_metadata(Memory(b"x" * 96 + struct.pack("<I", length) + b"PARE"), where="x")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (bytes([0x1C, 0x1C]), bytes([0x1C, 0x3C])),
        (bytes([0x1C, 0x1C]), bytes([0x1C, 0x1B])),
        (bytes([0x12, 0, 0]), bytes([0x11, 0, 0])),
        (bytes([0x12, 0, 0]), bytes([0x12, 0x18, 0, 0, 0])),
        (bytes([0x12, 0, 0]), bytes([0x12, 0x1C, 0, 0, 0])),
        (binary(0x18, UNIQUE), bytes([0x18, 0x88, 0x00]) + UNIQUE),
        (binary(0x18, UNIQUE), bytes([0x18, 0xFF, 0xFF, 0xFF, 0x7F]) + UNIQUE),
        (binary(0x18, UNIQUE), bytes([0x08, 0x04, 8]) + UNIQUE),
        (binary(0x18, PREFIX[:100]), b"\x18\0"),
        (binary(0x18, MATERIAL), b""),
    ],
    ids=[
        "algorithm 3",
        "algorithm of another type",
        "prefix to be supplied",
        "fourth field",
        "two algorithms",
        "long varint",
        "endless varint",
        "field id in long form",
        "no prefix",
        "no key metadata",
    ],
)
def test_anything_that_redoubt_does_not_write_is_refused(old: bytes, new: bytes) -> None:
    assert VALID.count(old) == 1
    with pytest.raises(HeaderInvalid):
        parse_crypto_metadata(VALID.replace(old, new) + b"rest", where="x")


@pytest.mark.parametrize("end", range(len(VALID)))
def test_a_structure_that_is_cut_short_is_refused(end: int) -> None:
    with pytest.raises(HeaderInvalid):
        parse_crypto_metadata(VALID[:end], where="x")


# --- fuzz: only our errors escape, and nothing is accepted that reads differently -------------------------------------
@given(st.binary(max_size=300))
def test_fuzz_arbitrary_bytes(data: bytes) -> None:
    for parse in (
        lambda: parse_crypto_metadata(data, where="x"),
        lambda: read_crypto_metadata(Memory(data + b"PARE"), where="x"),
        lambda: add_key_metadata(data + b"PARE\0\0\0\0", MATERIAL),
        lambda: parse_footer_material(data, dataset_id=DATASET),
    ):
        try:
            parse()
        except RedoubtError:
            continue


@given(st.integers(0, len(VALID) - 1), st.integers(1, 255))
def test_fuzz_one_changed_byte(position: int, change: int) -> None:
    changed = bytearray(VALID)
    changed[position] ^= change
    try:
        found = parse_crypto_metadata(bytes(changed), where="x")
    except HeaderInvalid:
        return
    # Only the content of a field, or the algorithm, can change unnoticed here: both are bound to the file's tags.
    assert (found.aad_prefix, found.key_metadata, found.algorithm) != (PREFIX[:100], MATERIAL, Algorithm.GCM) or (
        UNIQUE in VALID and UNIQUE not in changed
    )


@given(
    st.dictionaries(
        st.sampled_from(
            ["keyMaterialType", "internalStorage", "isFooterKey", "masterKeyID", "wrappedDEK", "doubleWrapping"]
        ),
        st.one_of(st.none(), st.booleans(), st.text(max_size=20), st.just("PKMT1"), st.lists(st.integers())),
    )
)
def test_fuzz_key_material(document: dict[str, object]) -> None:
    import json

    with pytest.raises(KeyError_):
        parse_footer_material(json.dumps(document).encode(), dataset_id=DATASET)


@pytest.mark.parametrize(
    "text", ["", "a/b/footer", f"{DATASET}/{COMMIT}/model", f"{DATASET}/{COMMIT}/footer/", "х" * 80]
)
def test_master_key_ids_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(KeyError_):
        MasterKeyId.parse(text)
