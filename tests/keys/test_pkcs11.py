"""The provider ``pkcs11`` on SoftHSM2: the contract in both ways of wrapping, its PIN, its keys, several processes."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.keys.peers.softhsm import MODULE, SoftToken, new_token
from tests.keys.provider_contract import ProviderContract, data_key, facts

from redoubt.errors import (
    AssuranceRefused,
    EnvironmentIncomplete,
    KeyDestroyed,
    KeystoreDamaged,
    NotFound,
    ProviderKeyMissing,
    ProviderPinRefused,
    ProviderSettingsInvalid,
    ProviderUnreachable,
    WrapRefused,
)
from redoubt.keys.held import HeldProvider
from redoubt.keys.names import KeyName
from redoubt.keys.pkcs11 import Way, choose, open_pkcs11, why_not_hardware
from redoubt.keys.pkcs11_token import Token, TokenFacts
from redoubt.keys.provider import Provider
from redoubt.keys.registry import ProviderPlace
from redoubt.keys.types import WrappedKey

A, B = KeyName.parse("key:main/a.dev"), KeyName.parse("key:main/b.dev")
HARD = KeyName.parse("key:main/a.hw")
FACTS = TokenFacts("t", "Vendor", "HSM 9", "1", frozenset({"AES_KEY_GEN", "AES_GCM", "AES_KEY_WRAP"}), hardware=True)


@pytest.fixture(scope="module")
def token() -> SoftToken:
    return new_token()


@pytest.fixture
def place(tmp_path: Path) -> ProviderPlace:
    (tmp_path / ".redoubt").mkdir(mode=0o700)
    return ProviderPlace(tmp_path, None)


def settings_of(token: SoftToken, place: ProviderPlace, **changes: str) -> Mapping[str, str]:
    pin_file = place.folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(token.pin + "\n")
    return {"module": str(token.module), "token": token.label, "pin_file": "pin", **changes}


def open_provider(token: SoftToken, place: ProviderPlace, **changes: str) -> HeldProvider:
    return open_pkcs11(settings_of(token, place, **changes), place)


class TestPkcs11Gcm(ProviderContract):
    @pytest.fixture
    def provider(self, token: SoftToken, place: ProviderPlace) -> Provider:
        return open_provider(token, place)


class TestPkcs11KeyWrap(ProviderContract):
    @pytest.fixture
    def provider(self, token: SoftToken, place: ProviderPlace) -> Provider:
        return open_provider(token, place, mechanism="aes-kw")


# --- the keys ---------------------------------------------------------------------------------------------------------
def test_keys_are_generated_in_the_token_and_never_leave_it(token: SoftToken, place: ProviderPlace) -> None:
    from pkcs11 import Attribute, AttributeSensitive, ObjectClass

    provider = open_provider(token, place)
    provider.create(A)
    handle = Token(module=token.module, label=token.label, pin=lambda: token.pin)
    with handle.session() as session:
        keys = [
            key
            for key in session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
            if key[Attribute.LABEL].startswith("redoubt-main-a-dev-1-")
        ]
        assert keys
        for key in keys:
            assert (key[Attribute.ALWAYS_SENSITIVE], key[Attribute.NEVER_EXTRACTABLE], key[Attribute.LOCAL]) == (
                1,
                1,
                1,
            )
            with pytest.raises(AttributeSensitive):
                key[Attribute.VALUE]


def test_each_way_names_its_mechanism_and_a_changed_setting_leaves_old_keys_usable(
    token: SoftToken, place: ProviderPlace
) -> None:
    direct = open_provider(token, place)
    direct.create(A)
    key = data_key()
    (old,) = direct.wrap(A, [key])
    indirect = open_provider(token, place, mechanism="aes-kw")
    indirect.rotate(A)
    (new,) = indirect.rewrap([old])
    assert (old.mechanism, new.mechanism) == ("pkcs11-aes-256-gcm", "kek-aes-256-gcm")
    assert [facts(it) for it in direct.unwrap([old, new])] == [facts(key)] * 2
    with pytest.raises(WrapRefused):
        direct.unwrap([replace(old, mechanism=new.mechanism)])


def test_destroyed_key_is_gone_from_the_token(token: SoftToken, place: ProviderPlace) -> None:
    provider = open_provider(token, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    with sqlite3.connect(place.folder / ".redoubt" / "pkcs11.sqlite") as db:
        before = db.execute("SELECT wrapped FROM versions").fetchone()
    provider.destroy(A, version=1, even_if_referenced=True)
    with sqlite3.connect(place.folder / ".redoubt" / "pkcs11.sqlite") as db:
        db.execute("UPDATE versions SET state = 'enabled', wrapped = ?", before)
    with pytest.raises(ProviderKeyMissing):
        provider.unwrap([wrapped])


def test_key_deleted_in_the_token_is_missing_and_can_still_be_destroyed(token: SoftToken, place: ProviderPlace) -> None:
    from pkcs11 import Attribute

    provider = open_provider(token, place)
    provider.create(KeyName.parse("key:main/lost.dev"))
    (wrapped,) = provider.wrap(KeyName.parse("key:main/lost.dev"), [data_key()])
    with Token(module=token.module, label=token.label, pin=lambda: token.pin).session() as session:
        for key in list(session.get_objects()):
            if key[Attribute.LABEL].startswith("redoubt-main-lost-"):
                key.destroy()
    with pytest.raises(ProviderKeyMissing):
        provider.unwrap([wrapped])
    provider.destroy(wrapped.key, version=1, even_if_referenced=True)
    with pytest.raises(KeyDestroyed):
        provider.unwrap([wrapped])


@pytest.mark.parametrize("way", ["aes-gcm", "aes-kw"])
def test_entry_moved_to_another_key_is_refused(token: SoftToken, place: ProviderPlace, way: str) -> None:
    provider = open_provider(token, place, mechanism=way)
    provider.create(A)
    provider.create(B)
    with sqlite3.connect(place.folder / ".redoubt" / "pkcs11.sqlite") as db:
        (stolen,) = db.execute("SELECT wrapped FROM versions WHERE name = ?", (str(A),)).fetchone()
        db.execute("UPDATE versions SET wrapped = ? WHERE name = ?", (stolen, str(B)))
    with pytest.raises(KeystoreDamaged):
        provider.wrap(B, [data_key()])


def test_key_encryption_key_of_another_version_is_refused(token: SoftToken, place: ProviderPlace) -> None:
    from redoubt.crypto.encoding import decode_fields, encode_fields

    provider = open_provider(token, place, mechanism="aes-kw")
    provider.create(A)
    provider.create(B)
    with sqlite3.connect(place.folder / ".redoubt" / "pkcs11.sqlite") as db:
        entries = dict(db.execute("SELECT name, wrapped FROM versions").fetchall())
        fields = {name: decode_fields(entry, count=7, what="entry") for name, entry in entries.items()}
        forged = encode_fields(*fields[str(B)][:3], *fields[str(A)][3:])
        db.execute("UPDATE versions SET wrapped = ? WHERE name = ?", (forged, str(B)))
    with pytest.raises(KeystoreDamaged):
        provider.wrap(B, [data_key()])


# --- the PIN ----------------------------------------------------------------------------------------------------------
def test_wrong_pin_is_refused_and_tried_once(place: ProviderPlace) -> None:
    token = new_token()
    tries = []

    def pin() -> str:
        tries.append(1)
        return "wrong-pin"

    handle = Token(module=token.module, label=token.label, pin=pin)
    for _ in range(3):
        with pytest.raises(ProviderPinRefused) as refusal, handle.session():
            pytest.fail("a wrong PIN logged in")
        assert "wrong-pin" not in refusal.value.explain()
    assert len(tries) == 1
    provider = open_provider(replace(token, pin="wrong-pin"), place)
    with pytest.raises(ProviderPinRefused):
        provider.create(A)
    assert list(provider.list()) == []


@pytest.mark.parametrize("flag", ["USER_PIN_LOCKED", "USER_PIN_FINAL_TRY"])
def test_pin_that_is_locked_or_would_lock_is_not_tried(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    from pkcs11 import TokenFlag

    class Locked:
        flags = TokenFlag[flag]

        def open(self, **options: object) -> None:
            pytest.fail("a PIN was tried")

    token = new_token()
    handle = Token(module=token.module, label=token.label, pin=lambda: token.pin)
    monkeypatch.setattr(handle, "_find", Locked)
    with pytest.raises(ProviderPinRefused), handle.session():
        pass


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_pin_file_open_to_others_is_refused(token: SoftToken, place: ProviderPlace, mode: int) -> None:
    provider = open_provider(token, place)
    (place.folder / "pin").chmod(mode)
    with pytest.raises(ProviderSettingsInvalid, match="open to other users"):
        provider.create(A)
    (place.folder / "pin").unlink()
    with pytest.raises(NotFound):
        provider.create(A)


def test_pin_from_a_descriptor(token: SoftToken, place: ProviderPlace) -> None:
    read, write = os.pipe()
    os.write(write, token.pin.encode())
    os.close(write)
    settings = {k: v for k, v in settings_of(token, place, pin_fd=str(read)).items() if k != "pin_file"}
    provider = open_pkcs11(settings, place)
    provider.create(A)
    assert len(provider.wrap(A, [data_key()])) == 1


# --- settings and the token -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"module": "libsofthsm2.so"},
        {"pin_fd": "3"},
        {"mechanism": "rsa-pkcs1"},
        {"assurance": "high"},
    ],
)
def test_unusable_settings_are_refused_at_once(token: SoftToken, place: ProviderPlace, changes: dict[str, str]) -> None:
    with pytest.raises(ProviderSettingsInvalid):
        open_provider(token, place, **changes)


def test_module_that_others_may_write_is_not_loaded(token: SoftToken, place: ProviderPlace) -> None:
    for name, mode in (("evil.so", 0o666), ("missing.so", None)):
        if mode is not None:
            (place.folder / name).write_bytes(MODULE.read_bytes())
            (place.folder / name).chmod(mode)
        provider = open_provider(token, place, module=str(place.folder / name))
        with pytest.raises(ProviderSettingsInvalid, match="module"):
            provider.create(A)


def test_absent_token_is_unreachable(token: SoftToken, place: ProviderPlace) -> None:
    provider = open_provider(replace(token, label="nobody"), place)
    with pytest.raises(ProviderUnreachable):
        provider.create(A)
    with pytest.raises(ProviderUnreachable):
        provider.probe()


def test_probe_names_the_token(token: SoftToken, place: ProviderPlace) -> None:
    text = open_provider(token, place).probe()
    assert token.label in text
    assert "not hardware" in text


def test_softhsm_never_holds_hardware_keys_even_if_configured(token: SoftToken, place: ProviderPlace) -> None:
    provider = open_provider(token, place, assurance="hw")
    with pytest.raises(AssuranceRefused):
        provider.create(HARD)
    assert list(provider.list()) == []


def test_only_a_token_that_is_hardware_may_hold_hardware_keys() -> None:
    assert why_not_hardware(FACTS) is None
    assert why_not_hardware(replace(FACTS, hardware=False)) is not None
    assert why_not_hardware(replace(FACTS, manufacturer="SoftHSM project")) is not None
    assert why_not_hardware(replace(FACTS, model="SoftHSM v2")) is not None


def test_way_of_wrapping_is_what_the_token_offers() -> None:
    without_gcm = replace(FACTS, mechanisms=FACTS.mechanisms - {"AES_GCM"})
    assert choose(FACTS, None) is Way.AES_GCM
    assert choose(FACTS, Way.AES_KW) is Way.AES_KW
    assert choose(without_gcm, None) is Way.AES_KW
    for facts_, wanted in ((without_gcm, Way.AES_GCM), (replace(FACTS, mechanisms=frozenset({"RSA_PKCS"})), None)):
        with pytest.raises(ProviderSettingsInvalid):
            choose(facts_, wanted)


def test_missing_library_names_the_extra(
    token: SoftToken, place: ProviderPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(EnvironmentIncomplete) as refusal:
        open_provider(token, place).create(A)
    assert "redoubt[pkcs11]" in refusal.value.explain()


# --- processes --------------------------------------------------------------------------------------------------------
def test_child_process_opens_its_own_session(token: SoftToken, place: ProviderPlace) -> None:
    provider = open_provider(token, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if len(provider.unwrap([wrapped])) == 1 else 1)
        except BaseException:  # noqa: BLE001 - a child must not run the rest of the tests
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(provider.unwrap([wrapped])) == 1


WORKER = """
import sys
from pathlib import Path
from uuid import uuid4
from redoubt.keys.names import KeyName
from redoubt.keys.pkcs11 import open_pkcs11
from redoubt.keys.registry import ProviderPlace
from redoubt.keys.types import DataKey, WrapContext

folder, module, token = sys.argv[1:]
provider = open_pkcs11({"module": module, "token": token, "pin_file": "pin"}, ProviderPlace(Path(folder), None))
name = KeyName.parse("key:main/a.dev")
for number in range(6):
    (wrapped,) = provider.wrap(name, [DataKey(context=WrapContext(uuid4(), uuid4()), secret=bytes(32))])
    print(wrapped.encode().hex(), flush=True)
    if number % 2:
        provider.rotate(name)
"""


def test_two_processes_wrap_and_rotate_at_once(token: SoftToken, place: ProviderPlace) -> None:
    provider = open_provider(token, place)
    provider.create(A)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(place.folder), str(token.module), token.label],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    records = [WrappedKey.decode(bytes.fromhex(line)) for output in outputs for line in output.splitlines()]
    info = open_provider(token, place).describe(A)
    assert [version.version for version in info.versions] == list(range(1, 8))
    assert sum(version.wraps for version in info.versions) == len(records) == 12
    # A token shows another process's objects to a session that begins after they were made, or at the next look.
    assert len(provider.unwrap(records)) == 12


def test_kill_at_any_point_leaves_the_old_or_the_new_state(token: SoftToken, place: ProviderPlace) -> None:
    open_provider(token, place).create(A)
    chance = random.Random(7)
    reported: list[WrappedKey] = []
    for _ in range(3):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER.replace("range(6)", "range(10**6)"), str(place.folder), *worker_of(token)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        first = worker.stdout.readline()
        time.sleep(chance.uniform(0.02, 0.2))
        worker.kill()
        lines = (first + worker.stdout.read()).splitlines(keepends=True)
        worker.wait()
        reported += [WrappedKey.decode(bytes.fromhex(line)) for line in lines if line.endswith("\n")]
    provider = open_provider(token, place)
    info = provider.describe(A)
    assert [version.version for version in info.versions] == list(range(1, len(info.versions) + 1))
    assert all(version.wraps == version.references for version in info.versions)
    assert {record.context for record in reported} <= set(provider.references(A))
    assert len(provider.unwrap(reported[-1024:])) == len(reported[-1024:]) > 0


def worker_of(token: SoftToken) -> tuple[str, str]:
    return str(token.module), token.label
