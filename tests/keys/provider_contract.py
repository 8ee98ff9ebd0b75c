"""The contract of :class:`redoubt.keys.provider.Provider`: every provider's tests subclass :class:`ProviderContract`.

A subclass gives the fixture ``provider`` (empty, able to hold keys of ``assurance``) and may override the class
attributes. Tests are named after the attack or the promise they check.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redoubt.errors import (
    AssuranceRefused,
    KeyDestroyed,
    KeyDisabled,
    KeyError_,
    KeyExists,
    KeyReferenced,
    KeyUnknown,
    RedoubtError,
    WrapRefused,
)
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyState, Provider
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.limits import MAX_KEY_BATCH

#: Datasets whose data keys these tests wrap, each in turn: so few that a broker's manifest can list all of them.
DATASETS = tuple(UUID(int=0xDA7A << 64 | it, version=4) for it in range(16))
#: Names of keys in the namespace ``main`` that data is wrapped under, or that are missing.
NAMES = ("a", "b", "flipped", "missing")
_next_dataset = itertools.cycle(DATASETS)


def data_key(purpose: Purpose = Purpose.DATA, dataset: UUID | None = None) -> DataKey:
    context = WrapContext(dataset or next(_next_dataset), uuid4(), purpose)
    return DataKey(context=context, secret=uuid4().bytes + uuid4().bytes)


def facts(key: DataKey) -> tuple[UUID, UUID, Purpose, bytes]:
    return key.dataset_id, key.id, key.purpose, key.secret


def total_references(provider: Provider, name: KeyName) -> int:
    return sum(version.references for version in provider.describe(name).versions)


class ProviderContract:
    """Subclass this and give the fixture ``provider``."""

    assurance = Assurance.DEV
    refused_assurance: Assurance | None = Assurance.HARDWARE

    @pytest.fixture
    def provider(self) -> Provider:
        raise NotImplementedError

    @pytest.fixture
    def a(self, provider: Provider) -> KeyName:
        return provider.create(KeyName("main", "a", self.assurance)).name

    @pytest.fixture
    def b(self, provider: Provider) -> KeyName:
        return provider.create(KeyName("main", "b", self.assurance)).name

    def one(self, provider: Provider, name: KeyName) -> tuple[DataKey, WrappedKey]:
        key = data_key()
        (wrapped,) = provider.wrap(name, [key])
        return key, wrapped

    # --- life ---------------------------------------------------------------------------------------------------------
    def test_create_describe_and_list_agree(self, provider: Provider, b: KeyName, a: KeyName) -> None:
        assert [info.name for info in provider.list()] == [a, b]
        assert provider.describe(a) == provider.list()[0]
        (version,) = provider.describe(a).versions
        assert (version.version, version.state, version.wraps, version.references) == (1, KeyState.ENABLED, 0, 0)
        assert version.created > 1_700_000_000

    def test_name_is_never_reused(self, provider: Provider, a: KeyName) -> None:
        with pytest.raises(KeyExists):
            provider.create(a)
        provider.destroy(a, version=1)
        with pytest.raises(KeyExists):
            provider.create(a)

    def test_class_not_held_here_is_refused(self, provider: Provider) -> None:
        if self.refused_assurance is None:
            assert provider.assurances == frozenset(Assurance)
            return
        assert self.refused_assurance not in provider.assurances
        name = KeyName("main", "strong", self.refused_assurance)
        with pytest.raises(AssuranceRefused):
            provider.create(name)
        with pytest.raises((AssuranceRefused, KeyUnknown)):
            provider.wrap(name, [data_key()])
        assert list(provider.list()) == []

    def test_unknown_key_is_refused_everywhere(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        missing = KeyName("main", "missing", self.assurance)
        record = replace(wrapped, key=missing)
        for call in (
            lambda: provider.describe(missing),
            lambda: provider.rotate(missing),
            lambda: provider.set_state(missing, KeyState.DISABLED),
            lambda: provider.set_state(a, KeyState.DISABLED, version=2),
            lambda: provider.destroy(missing, version=1),
            lambda: provider.destroy(a, version=2),
            lambda: provider.wrap(missing, [data_key()]),
            lambda: provider.unwrap([record]),
            lambda: provider.rewrap([record]),
            lambda: provider.references(missing),
            lambda: provider.references(a, version=2),
        ):
            with pytest.raises(KeyUnknown):
                call()

    # --- wrap and unwrap ----------------------------------------------------------------------------------------------
    def test_unwrap_returns_what_was_wrapped_in_order(self, provider: Provider, a: KeyName, b: KeyName) -> None:
        keys = [data_key(purpose) for purpose in (*Purpose, *Purpose)]
        wrapped = [record for place, key in enumerate(keys) for record in provider.wrap((a, b)[place % 2], [key])]
        assert [facts(key) for key in provider.unwrap(wrapped)] == [facts(key) for key in keys]
        assert [facts(key) for key in provider.unwrap(wrapped[::-1])] == [facts(key) for key in keys[::-1]]

    def test_record_survives_its_encoding(self, provider: Provider, a: KeyName) -> None:
        key, wrapped = self.one(provider, a)
        (opened,) = provider.unwrap([WrappedKey.decode(wrapped.encode())])
        assert facts(opened) == facts(key)

    def test_wraps_of_one_key_differ_and_hide_it(self, provider: Provider, a: KeyName) -> None:
        key = data_key()
        first, second = provider.wrap(a, [key, key])
        assert first.ciphertext != second.ciphertext
        assert key.secret not in first.encode()

    def test_key_wrapped_for_b_is_refused_for_a(self, provider: Provider, a: KeyName, b: KeyName) -> None:
        _, wrapped = self.one(provider, b)
        with pytest.raises(WrapRefused):
            provider.unwrap([replace(wrapped, key=a)])

    def test_swapped_dataset_id_is_refused(self, provider: Provider, a: KeyName) -> None:
        _, one = self.one(provider, a)
        _, two = self.one(provider, a)
        swapped = replace(one.context, dataset_id=two.context.dataset_id)
        with pytest.raises(WrapRefused):
            provider.unwrap([replace(one, context=swapped)])

    def test_swapped_data_key_id_is_refused(self, provider: Provider, a: KeyName) -> None:
        dataset = DATASETS[0]
        one, two = provider.wrap(a, [data_key(dataset=dataset), data_key(dataset=dataset)])
        with pytest.raises(WrapRefused):
            provider.unwrap([replace(one, context=two.context)])

    def test_other_purpose_is_refused(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        for purpose in set(Purpose) - {wrapped.context.purpose}:
            with pytest.raises(WrapRefused):
                provider.unwrap([replace(wrapped, context=replace(wrapped.context, purpose=purpose))])

    def test_edited_version_is_refused(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        provider.rotate(a)
        with pytest.raises(WrapRefused):
            provider.unwrap([replace(wrapped, version=2)])
        for version in (3, 2**32 - 1):
            with pytest.raises(KeyUnknown):
                provider.unwrap([replace(wrapped, version=version)])

    def test_other_mechanism_is_refused(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        for mechanism in ("", "none", wrapped.mechanism.upper()):
            with pytest.raises(WrapRefused):
                provider.unwrap([replace(wrapped, mechanism=mechanism)])

    @pytest.mark.parametrize("length", [0, 1, 11, 12, 59, 61, 1536])
    def test_ciphertext_of_another_length_is_refused(self, provider: Provider, a: KeyName, length: int) -> None:
        _, wrapped = self.one(provider, a)
        with pytest.raises(WrapRefused):
            provider.unwrap([replace(wrapped, ciphertext=(wrapped.ciphertext * 30)[:length])])

    # Several providers inherit this test: that is what a contract is for.
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(st.data())
    def test_any_flipped_bit_of_a_record_is_refused(
        self, flippable: bytes, provider: Provider, data: st.DataObject
    ) -> None:
        record = bytearray(flippable)
        bit = data.draw(st.integers(0, len(record) * 8 - 1))
        record[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RedoubtError):
            provider.unwrap([WrappedKey.decode(bytes(record))])

    @pytest.fixture
    def flippable(self, provider: Provider) -> bytes:
        """A record of a key with two versions, the control being that it opens."""
        name = KeyName("main", "flipped", self.assurance)
        provider.create(name)
        provider.rotate(name)
        _, wrapped = self.one(provider, name)
        assert provider.unwrap([wrapped])
        return wrapped.encode()

    # --- batches ------------------------------------------------------------------------------------------------------
    def test_empty_batches_are_empty(self, provider: Provider, a: KeyName) -> None:
        assert list(provider.wrap(a, [])) == []
        assert list(provider.unwrap([])) == []
        assert list(provider.rewrap([])) == []
        provider.release([])

    def test_unwrap_batch_with_one_bad_record_gives_nothing(self, provider: Provider, a: KeyName, b: KeyName) -> None:
        good = [self.one(provider, a)[1] for _ in range(3)]
        with pytest.raises(WrapRefused):
            provider.unwrap([*good, replace(good[0], key=b)])

    def test_rewrap_batch_with_one_bad_record_changes_nothing(self, provider: Provider, a: KeyName, b: KeyName) -> None:
        good = [self.one(provider, a)[1], self.one(provider, b)[1]]
        before = provider.list()
        with pytest.raises(WrapRefused):
            provider.rewrap([*good, replace(good[0], key=b)])
        assert provider.list() == before

    def test_batch_over_the_limit_is_refused(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        too_many = MAX_KEY_BATCH + 1
        for call in (provider.unwrap, provider.rewrap, provider.release):
            with pytest.raises(KeyError_):
                call([wrapped] * too_many)
        with pytest.raises(KeyError_):
            provider.wrap(a, [data_key()] * too_many)
        assert len(provider.unwrap([wrapped] * MAX_KEY_BATCH)) == MAX_KEY_BATCH

    # --- rotation and re-wrap -----------------------------------------------------------------------------------------
    def test_after_rotation_new_wraps_use_the_new_version_and_old_ones_open(
        self, provider: Provider, a: KeyName
    ) -> None:
        old_key, old = self.one(provider, a)
        assert provider.rotate(a).current.version == 2
        new_key, new = self.one(provider, a)
        assert (old.version, new.version) == (1, 2)
        assert [facts(key) for key in provider.unwrap([old, new])] == [facts(old_key), facts(new_key)]

    def test_rewrap_moves_to_the_newest_version_and_keeps_the_key(
        self, provider: Provider, a: KeyName, b: KeyName
    ) -> None:
        pairs = [self.one(provider, name) for name in (a, b, a)]
        provider.rotate(a)
        new = provider.rewrap([wrapped for _, wrapped in pairs])
        assert [(record.key, record.version) for record in new] == [(a, 2), (b, 1), (a, 2)]
        assert [facts(key) for key in provider.unwrap(new)] == [facts(key) for key, _ in pairs]

    def test_rewrap_of_a_foreign_record_is_refused(self, provider: Provider, a: KeyName, b: KeyName) -> None:
        _, wrapped = self.one(provider, b)
        with pytest.raises(WrapRefused):
            provider.rewrap([replace(wrapped, key=a)])

    # --- references ---------------------------------------------------------------------------------------------------
    def test_wraps_and_references_are_counted(self, provider: Provider, a: KeyName) -> None:
        wrapped = provider.wrap(a, [data_key() for _ in range(5)])
        (version,) = provider.describe(a).versions
        assert (version.wraps, version.references) == (5, 5)
        assert set(provider.references(a)) == {record.context for record in wrapped}
        provider.release(wrapped[:2])
        provider.release(wrapped[:2])
        (version,) = provider.describe(a).versions
        assert (version.wraps, version.references) == (5, 3)
        assert set(provider.references(a, version=1)) == {record.context for record in wrapped[2:]}

    def test_destroy_of_referenced_version_is_refused(self, provider: Provider, a: KeyName) -> None:
        key, wrapped = self.one(provider, a)
        provider.rotate(a)
        with pytest.raises(KeyReferenced):
            provider.destroy(a, version=1)
        (new,) = provider.rewrap([wrapped])
        with pytest.raises(KeyReferenced):  # the new record may not be in place yet
            provider.destroy(a, version=1)
        provider.release([wrapped])
        provider.destroy(a, version=1)
        assert facts(provider.unwrap([new])[0]) == facts(key)
        with pytest.raises(KeyDestroyed):
            provider.unwrap([wrapped])

    def test_rewrap_under_the_same_version_keeps_a_reference_after_release(
        self, provider: Provider, a: KeyName
    ) -> None:
        _, wrapped = self.one(provider, a)
        (new,) = provider.rewrap([wrapped])
        assert new.version == wrapped.version
        provider.release([wrapped])
        assert total_references(provider, a) == 1
        with pytest.raises(KeyReferenced):
            provider.destroy(a, version=1)

    def test_settle_drops_what_an_interrupted_rewrap_left(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        _, other = self.one(provider, a)
        provider.rotate(a)
        provider.rewrap([wrapped])  # never stored: the process died
        (new,) = provider.rewrap([wrapped])
        provider.settle([new])
        assert set(provider.references(a, version=1)) == {other.context}
        assert set(provider.references(a, version=2)) == {new.context}

    def test_late_settle_keeps_the_reference_of_a_newer_rewrap(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        provider.rotate(a)
        (slow,) = provider.rewrap([wrapped])
        provider.rotate(a)
        (quick,) = provider.rewrap([wrapped])
        provider.settle([quick])
        provider.settle([slow])
        assert provider.references(a, version=3) == (quick.context,)
        with pytest.raises(KeyReferenced):
            provider.destroy(a, version=3)

    def test_release_of_a_record_of_another_context_drops_nothing(
        self, provider: Provider, a: KeyName, b: KeyName
    ) -> None:
        _, wrapped = self.one(provider, a)
        provider.release([replace(wrapped, key=b), replace(wrapped, version=7)])
        provider.release([replace(wrapped, context=replace(wrapped.context, dataset_id=uuid4()))])
        provider.release([replace(wrapped, ciphertext=bytes(60))])
        assert total_references(provider, a) == 1

    # --- disable and destroy ------------------------------------------------------------------------------------------
    def test_disabled_key_refuses_to_wrap_unwrap_and_rewrap(self, provider: Provider, a: KeyName) -> None:
        key, wrapped = self.one(provider, a)
        provider.rotate(a)
        info = provider.set_state(a, KeyState.DISABLED)
        assert {version.state for version in info.versions} == {KeyState.DISABLED}
        for call in (
            lambda: provider.wrap(a, [data_key()]),
            lambda: provider.unwrap([wrapped]),
            lambda: provider.rewrap([wrapped]),
        ):
            with pytest.raises(KeyDisabled):
                call()
        provider.set_state(a, KeyState.ENABLED)
        assert facts(provider.unwrap([wrapped])[0]) == facts(key)

    def test_one_disabled_version_leaves_the_others(self, provider: Provider, a: KeyName) -> None:
        _, old = self.one(provider, a)
        provider.rotate(a)
        _, new = self.one(provider, a)
        provider.set_state(a, KeyState.DISABLED, version=1)
        assert len(provider.unwrap([new])) == 1
        with pytest.raises(KeyDisabled):
            provider.unwrap([new, old])
        provider.set_state(a, KeyState.ENABLED, version=1)
        provider.set_state(a, KeyState.DISABLED, version=2)
        assert len(provider.unwrap([old])) == 1
        with pytest.raises(KeyDisabled):
            provider.wrap(a, [data_key()])

    def test_state_change_cannot_destroy_or_revive(self, provider: Provider, a: KeyName) -> None:
        with pytest.raises(KeyError_):
            provider.set_state(a, KeyState.DESTROYED)
        provider.destroy(a, version=1)
        for version in (1, None):
            with pytest.raises(KeyDestroyed):
                provider.set_state(a, KeyState.ENABLED, version=version)
        provider.rotate(a)
        provider.set_state(a, KeyState.DISABLED)
        states = [version.state for version in provider.describe(a).versions]
        assert states == [KeyState.DESTROYED, KeyState.DISABLED]

    def test_destroyed_version_stays_in_the_books_and_opens_nothing(self, provider: Provider, a: KeyName) -> None:
        _, wrapped = self.one(provider, a)
        info = provider.destroy(a, version=1, even_if_referenced=True)
        assert info.current.state is KeyState.DESTROYED
        assert list(provider.references(a)) == [wrapped.context]
        assert provider.destroy(a, version=1) == info
        for call in (lambda: provider.unwrap([wrapped]), lambda: provider.wrap(a, [data_key()])):
            with pytest.raises(KeyDestroyed):
                call()
        provider.release([wrapped])
        assert list(provider.references(a)) == []

    # --- threads ------------------------------------------------------------------------------------------------------
    def test_threads_lose_no_wrap_and_no_version(self, provider: Provider, a: KeyName) -> None:
        made: list[tuple[DataKey, WrappedKey]] = []
        failures: list[BaseException] = []

        def work(rotates: bool) -> None:
            try:
                for _ in range(4):
                    made.append(self.one(provider, a))
                    if rotates:
                        provider.rotate(a)
            except BaseException as error:  # noqa: BLE001 - shown by the assertion below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(place < 2,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        info = provider.describe(a)
        assert [version.version for version in info.versions] == list(range(1, 10))
        assert sum(version.wraps for version in info.versions) == len(made) == 16
        opened: Sequence[DataKey] = provider.unwrap([wrapped for _, wrapped in made])
        assert [facts(key) for key in opened] == [facts(key) for key, _ in made]
