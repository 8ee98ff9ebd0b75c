"""Who must sign a manifest and what may follow what: every way around it is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.samples import ALICE, BOB, MALLORY, TOML, manifest, public

from redoubt.errors import (
    AlreadyExists,
    ManifestChain,
    ManifestError,
    ManifestMalformed,
    ManifestMissing,
    ManifestRollback,
    ManifestSignature,
    ManifestUnsigned,
    NotFound,
    OwnerKeyInvalid,
)
from redoubt.trust.manifest import canonical
from redoubt.trust.owner_key import create_owner_key, read_owner_key
from redoubt.trust.signing import Envelope, SignedManifest, verify_manifest
from redoubt.trust.store import ManifestStore

FIRST = Envelope.of(manifest()).signed(ALICE)


def set_first() -> SignedManifest:
    return verify_manifest(FIRST, previous=None)


def successor(text: str = TOML, *, version: int = 2, previous: str | None = None) -> Envelope:
    """An unsigned manifest that follows the first one."""
    digest = previous or set_first().digest
    return Envelope.of(manifest(text.replace("version = 1", f'version = {version}\nprevious = "{digest}"')))


# --- signatures -------------------------------------------------------------------------------------------------------
def test_every_owner_signs_and_one_of_two_is_enough_where_stated() -> None:
    assert set_first().signers == {"alice"}  # sales is hers alone, report needs one of two
    assert verify_manifest(FIRST.signed(BOB), previous=None).signers == {"alice", "bob"}


def test_unsigned_manifest() -> None:
    with pytest.raises(ManifestUnsigned, match="'sales' needs 1 of alice"):
        verify_manifest(Envelope.of(manifest()), previous=None)


def test_owner_signature_missing() -> None:
    with pytest.raises(ManifestUnsigned, match="'sales' needs 1 of alice"):
        verify_manifest(Envelope.of(manifest()).signed(BOB), previous=None)
    both = Envelope.of(manifest(TOML.replace("approvals = 1", "approvals = 2")))
    with pytest.raises(ManifestUnsigned, match="'report' needs 1 of bob"):
        verify_manifest(both.signed(ALICE), previous=None)
    verify_manifest(both.signed(ALICE).signed(BOB), previous=None)


def test_signing_twice_counts_once() -> None:
    both = Envelope.of(manifest(TOML.replace("approvals = 1", "approvals = 2"))).signed(ALICE).signed(ALICE)
    with pytest.raises(ManifestUnsigned):
        verify_manifest(both, previous=None)


def test_signature_of_a_stranger_or_recipient() -> None:
    with pytest.raises(ManifestSignature, match="is the key of no owner"):
        verify_manifest(FIRST.signed(MALLORY), previous=None)


def test_signature_under_the_owners_name_by_another_key() -> None:
    signature = Envelope.of(manifest()).signed(MALLORY).signatures[MALLORY.public_key().public_bytes_raw()]
    forged = Envelope(FIRST.payload, {ALICE.public_key().public_bytes_raw(): signature})
    with pytest.raises(ManifestSignature):
        verify_manifest(forged, previous=None)


def test_signature_over_another_manifest() -> None:
    looser = manifest(TOML.replace('"snp.tcb.snp" = 20', '"snp.tcb.snp" = 0'))
    with pytest.raises(ManifestSignature):
        verify_manifest(Envelope(canonical(looser), FIRST.signatures), previous=None)


def test_signature_over_the_bare_manifest_or_for_another_purpose() -> None:
    payload = FIRST.payload
    for message in (payload, b"DSSEv1 16 application/json %d %s" % (len(payload), payload)):
        with pytest.raises(ManifestSignature):
            verify_manifest(
                Envelope(payload, {ALICE.public_key().public_bytes_raw(): ALICE.sign(message)}), previous=None
            )


# --- what may follow what ---------------------------------------------------------------------------------------------
def test_the_next_version_follows() -> None:
    second = verify_manifest(successor().signed(ALICE), previous=set_first())
    assert second.manifest.version == 2


def test_rolled_back_manifest() -> None:
    first = set_first()
    second = verify_manifest(successor().signed(ALICE), previous=first)
    for envelope in (FIRST, successor().signed(ALICE)):
        with pytest.raises(ManifestRollback):
            verify_manifest(envelope, previous=second)


def test_manifest_that_leaves_out_a_version_or_names_another_predecessor() -> None:
    with pytest.raises(ManifestChain):
        verify_manifest(successor(version=3).signed(ALICE), previous=set_first())
    with pytest.raises(ManifestChain):
        verify_manifest(successor(previous="sha256:" + "00" * 32).signed(ALICE), previous=set_first())
    with pytest.raises(ManifestChain):
        verify_manifest(successor().signed(ALICE), previous=None)


def test_taking_over_a_dataset_needs_its_old_owner() -> None:
    """Mallory publishes a version in which alice's key is hers, and signs it."""
    stolen = TOML.replace(f'[recipients.carol]\nkey = "{public(MALLORY)}"\n', "").replace(
        'recipients = ["carol"]\n', ""
    )
    taken = successor(stolen.replace(public(ALICE), public(MALLORY)))
    with pytest.raises(ManifestUnsigned, match="'sales' needs 1 of alice"):
        verify_manifest(taken.signed(MALLORY), previous=set_first())
    verify_manifest(taken.signed(MALLORY).signed(ALICE), previous=set_first())


def test_dropping_a_dataset_needs_its_owner() -> None:
    start = TOML.index("[datasets.sales]")
    rest = TOML[:start] + TOML[TOML.index("[datasets.report]") :]
    for tee in ("amd", "enclave"):
        grant = f'[[grants]]\nprogram = "monthly"\ntee = "{tee}"\ndataset = "sales"\nactions = ["read"]\n'
        assert grant in rest
        rest = rest.replace(grant, "")
    with pytest.raises(ManifestUnsigned, match="'sales' needs 1 of alice"):
        verify_manifest(successor(rest).signed(BOB), previous=set_first())


def test_lowering_the_approvals_needs_the_old_number() -> None:
    strict = verify_manifest(
        Envelope.of(manifest(TOML.replace("approvals = 1", "approvals = 2"))).signed(ALICE).signed(BOB), previous=None
    )
    with pytest.raises(ManifestUnsigned, match="'report' needs 1 of bob"):
        verify_manifest(successor(previous=strict.digest).signed(ALICE), previous=strict)


# --- the envelope -----------------------------------------------------------------------------------------------------
def test_envelope_reads_back() -> None:
    assert Envelope.parse(FIRST.encode()) == FIRST


@pytest.mark.parametrize(
    "change",
    [
        {"payloadType": "application/vnd.in-toto+json"},
        {"signatures": None},
        {"signatures": [{"keyid": public(ALICE), "sig": "AA"}]},
        {"signatures": [{"keyid": public(ALICE), "sig": "", "jku": "x"}]},
        {"signatures": [{"keyid": "alice", "sig": ""}]},
        {"signatures": [{"keyid": public(ALICE), "sig": ""}] * 2},
        {"signatures": [{"keyid": public(ALICE), "sig": ""}] * 300},
        {"payload": "e30"},
        {"extra": 1},
    ],
)
def test_damaged_envelope(change: dict[str, object]) -> None:
    with pytest.raises(ManifestMalformed):
        Envelope.parse(json.dumps({**json.loads(FIRST.encode()), **change}).encode())


@given(st.data())
def test_any_changed_byte_of_a_signed_manifest_is_refused(data: st.DataObject) -> None:
    raw = bytearray(FIRST.encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ManifestError):
        # What is left are other spellings of the same envelope's JSON (white space, none here): never another meaning.
        assert verify_manifest(Envelope.parse(bytes(raw)), previous=None) == set_first()


# --- the store --------------------------------------------------------------------------------------------------------
def test_store_keeps_the_history(tmp_path: Path) -> None:
    store = ManifestStore(tmp_path)
    assert store.history() == ()
    with pytest.raises(ManifestMissing):
        store.current()
    first = store.put(FIRST)
    second = store.put(successor().signed(ALICE))
    assert store.history() == (first, second)
    assert store.current() == second
    with pytest.raises(ManifestRollback):
        store.put(FIRST)
    with pytest.raises(ManifestUnsigned):
        store.put(successor(version=3, previous=second.digest))
    assert store.current() == second


def test_store_that_was_edited(tmp_path: Path) -> None:
    store = ManifestStore(tmp_path)
    store.put(FIRST)
    store.put(successor().signed(ALICE))
    folder = tmp_path / "manifest"
    names = sorted(it.name for it in folder.iterdir())
    assert names == ["00000001.json", "00000002.json"]
    unsigned = successor().encode()
    (folder / names[1]).write_bytes(unsigned)
    with pytest.raises(ManifestUnsigned):
        store.current()
    (folder / names[1]).write_bytes((folder / names[0]).read_bytes())
    with pytest.raises(ManifestRollback):
        store.current()
    (folder / names[1]).write_bytes(successor().signed(ALICE).encode())
    (folder / names[0]).unlink()
    with pytest.raises(ManifestChain, match="version 1 is missing"):
        store.current()


def test_two_at_once_set_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ManifestStore(tmp_path)
    monkeypatch.setattr(ManifestStore, "history", lambda self: ())
    store.put(FIRST)
    with pytest.raises(ManifestRollback, match="set meanwhile"):
        store.put(FIRST.signed(BOB))


# --- owners' keys -----------------------------------------------------------------------------------------------------
def test_owner_key_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "owners" / "alice.pem"
    key = create_owner_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_owner_key(path).private_bytes_raw() == key.private_bytes_raw()
    with pytest.raises(AlreadyExists):
        create_owner_key(path)
    path.chmod(0o640)
    with pytest.raises(OwnerKeyInvalid, match="open to other users"):
        read_owner_key(path)


def test_owner_key_of_another_kind(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "key.pem"
    with pytest.raises(NotFound):
        read_owner_key(path)
    other = ec.generate_private_key(ec.SECP256R1())
    for content in (b"x", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(OwnerKeyInvalid):
            read_owner_key(path)
