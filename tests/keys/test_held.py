"""A provider over any holder: what happens between holder and books when either fails, or others come between."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.keys.provider_contract import data_key, facts

from redoubt.crypto.wrap import unwrap_key, wrap_key
from redoubt.errors import (
    KeyDestroyed,
    KeyDisabled,
    KeystoreDamaged,
    ProviderAnswerInvalid,
    ProviderUnreachable,
)
from redoubt.keys.bookfile import KeystoreBooks, open_books
from redoubt.keys.entries import decode_entry, encode_entry, unused_name
from redoubt.keys.held import BookFacts, HeldProvider
from redoubt.keys.holder import KeyVersion, Unwrapped, Wrapped, check_binding
from redoubt.keys.kek import KeyEncryptionKey
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyState

A, B = KeyName.parse("key:main/a.dev"), KeyName.parse("key:main/b.dev")
VERSION = KeyVersion(A, 1, bytes(16))


class Shelf:
    """A holder in memory, with a moment before each call in which a test may act."""

    def __init__(self) -> None:
        self.keys: dict[bytes, bytes] = {}
        self.before: Callable[[str], None] = lambda call: None

    def ready(self) -> None:
        pass

    def mechanism(self, version: KeyVersion, entry: bytes) -> str:
        return "shelf"

    def create(self, version: KeyVersion) -> bytes:
        self.before("create")
        entry = encode_entry("shelf", version, os.urandom(8))
        self.keys[entry] = os.urandom(32)
        self.before("created")
        return entry

    def wrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        key = self._key(version, entry)
        made = [wrap_key(it.secret, wrapping_key=key, associated_data=it.associated_data) for it in keys]
        self.before("wrapped")
        return made

    def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        key = self._key(version, entry)
        return [unwrap_key(it.ciphertext, wrapping_key=key, associated_data=it.associated_data) for it in keys]

    def destroy(self, version: KeyVersion, entry: bytes) -> None:
        self.before("destroy")
        self.keys.pop(entry, None)

    def probe(self) -> str:
        return "a shelf"

    def _key(self, version: KeyVersion, entry: bytes) -> bytes:
        decode_entry("shelf", version, entry, count=1)
        return self.keys[entry]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def provider(shelf: Shelf, tmp_path: Path) -> HeldProvider:
    tmp_path.chmod(0o700)
    books = open_books(tmp_path, "shelf")
    facts_ = BookFacts(
        identity=books.header.id, assurances=frozenset({Assurance.DEV}), place="a shelf", damaged=KeystoreDamaged
    )
    return HeldProvider(KeystoreBooks(books), facts_, shelf)


def at(moment: str, action: Callable[[], object]) -> Callable[[str], None]:
    """Return what does *action* once, at *moment*."""
    left = [action]

    def before(call: str) -> None:
        if call == moment and left:
            left.pop()()

    return before


def fail() -> None:
    raise ProviderUnreachable("gone")


@pytest.mark.parametrize(
    ("action", "refusal"),
    [
        (lambda provider: provider.set_state(A, KeyState.DISABLED), KeyDisabled),
        (lambda provider: provider.destroy(A, version=1), KeyDestroyed),
    ],
)
def test_version_that_ends_while_its_holder_wraps_hands_out_nothing(
    provider: HeldProvider, shelf: Shelf, action: Callable[[HeldProvider], object], refusal: type[Exception]
) -> None:
    provider.create(A)
    shelf.before = at("wrapped", lambda: action(provider))
    with pytest.raises(refusal):
        provider.wrap(A, [data_key()])
    (version,) = provider.describe(A).versions
    assert (version.wraps, version.references) == (0, 0)


def test_wrap_that_a_rotation_overtook_is_counted_under_its_own_version(provider: HeldProvider, shelf: Shelf) -> None:
    provider.create(A)
    shelf.before = at("wrapped", lambda: provider.rotate(A))
    key = data_key()
    (wrapped,) = provider.wrap(A, [key])
    assert wrapped.version == 1
    assert [version.references for version in provider.describe(A).versions] == [1, 0]
    assert [facts(it) for it in provider.unwrap([wrapped])] == [facts(key)]


@pytest.mark.parametrize("moment", ["create", "created"])
def test_failed_creation_leaves_no_version(provider: HeldProvider, shelf: Shelf, moment: str) -> None:
    shelf.before = at(moment, fail)
    with pytest.raises(ProviderUnreachable):
        provider.create(A)
    assert list(provider.list()) == []
    provider.create(A)
    shelf.before = at(moment, fail)
    with pytest.raises(ProviderUnreachable):
        provider.rotate(A)
    assert [version.version for version in provider.describe(A).versions] == [1]
    assert provider.rotate(A).current.version == 2


def test_destroy_that_the_holder_refuses_is_not_in_the_books(provider: HeldProvider, shelf: Shelf) -> None:
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    shelf.before = at("destroy", fail)
    with pytest.raises(ProviderUnreachable):
        provider.destroy(A, version=1, even_if_referenced=True)
    assert provider.describe(A).current.state is KeyState.ENABLED
    assert len(provider.unwrap([wrapped])) == 1
    provider.destroy(A, version=1, even_if_referenced=True)
    assert shelf.keys == {}


def test_listing_and_references_ask_the_holder_nothing(provider: HeldProvider, shelf: Shelf) -> None:
    provider.create(A)
    provider.wrap(A, [data_key()])
    shelf.keys.clear()
    assert len(provider.list()) == len(provider.references(A)) == 1


# --- binding ----------------------------------------------------------------------------------------------------------
def test_holder_that_ignores_the_context_or_returns_another_key_is_found_out(shelf: Shelf) -> None:
    class Deaf(Shelf):
        def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
            own = b"redoubt/binding/a"
            return super().unwrap(version, entry, [Wrapped(it.ciphertext, own) for it in keys])

    class Forgetful(Shelf):
        def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
            return [bytes(32) for _ in keys]

    check_binding(shelf, VERSION, shelf.create(VERSION))
    for holder in (Deaf(), Forgetful()):
        with pytest.raises(ProviderAnswerInvalid):
            check_binding(holder, VERSION, holder.create(VERSION))


# --- entries and key-encryption keys ----------------------------------------------------------------------------------
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_entry_returns_its_fields_and_belongs_to_one_version(fields: list[bytes]) -> None:
    entry = encode_entry("kind", VERSION, *fields)
    assert decode_entry("kind", VERSION, entry, count=len(fields)) == tuple(fields)
    for kind, version, count in (
        ("other", VERSION, len(fields)),
        ("kind", KeyVersion(B, 1, bytes(16)), len(fields)),
        ("kind", KeyVersion(A, 2, bytes(16)), len(fields)),
        ("kind", VERSION, len(fields) + 1),
    ):
        with pytest.raises(KeystoreDamaged):
            decode_entry(kind, version, entry, count=count)


@given(st.binary(max_size=120))
def test_any_bytes_are_no_entry(entry: bytes) -> None:
    with pytest.raises(KeystoreDamaged):
        decode_entry("kind", VERSION, entry, count=1)


def test_names_at_the_holder_are_readable_and_never_the_same() -> None:
    names = {unused_name(VERSION) for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("redoubt-main-a-dev-1-") for name in names)


def test_key_encryption_key_belongs_to_one_version_of_one_workspace() -> None:
    key = KeyEncryptionKey.new(VERSION)
    assert key.secret not in (key.check_value, repr(key).encode())
    KeyEncryptionKey.opened(key.secret, VERSION, check_value=key.check_value)
    for secret, version in (
        (key.secret, KeyVersion(A, 2, bytes(16))),
        (key.secret, KeyVersion(B, 1, bytes(16))),
        (key.secret, KeyVersion(A, 1, bytes(15) + b"\1")),
        (bytes(32), VERSION),
        (b"", VERSION),
    ):
        with pytest.raises(KeystoreDamaged):
            KeyEncryptionKey.opened(secret, version, check_value=key.check_value)
    with pytest.raises(TypeError):
        key.__reduce__()
