"""The local provider: the provider contract, its file, its root key, several processes, crashes and tampering."""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.keys.provider_contract import ProviderContract, data_key, facts

from redoubt.errors import (
    AssuranceRefused,
    KeystoreDamaged,
    RedoubtError,
    RootKeyError,
    StorageError,
    UsageError,
    WorkspaceError,
    WrapLimitReached,
)
from redoubt.keys import keystore as keystore_module
from redoubt.keys.keystore import Keystore, KeystoreHeader
from redoubt.keys.local import LocalProvider
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeyState, Provider
from redoubt.keys.rootkey import (
    ARGON2_MEMORY_KIB,
    Argon2Parameters,
    PassphraseSource,
    RootKey,
    create_root_key_file,
    read_root_key_file,
)
from redoubt.keys.types import WrappedKey
from redoubt.limits import MAX_PASSPHRASE_BYTES, MAX_WRAPS_PER_KEY_VERSION

ROOT = RootKey(bytes(range(32)))
A, B = KeyName.parse("key:main/a.dev"), KeyName.parse("key:main/b.dev")


def open_provider(path: Path, root: RootKey = ROOT) -> LocalProvider:
    return LocalProvider(Keystore(path), unlock=lambda header: root)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keystore.sqlite"
    Keystore.create(path, KeystoreHeader.new(ROOT, None))
    return path


class TestLocalProvider(ProviderContract):
    @pytest.fixture
    def provider(self, path: Path) -> Provider:
        return open_provider(path)


# --- the file ---------------------------------------------------------------------------------------------------------
def test_everything_survives_reopening(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    provider.rotate(A)
    key = data_key()
    wrapped = provider.wrap(A, [key])
    again = open_provider(path)
    assert again.list() == provider.list()
    assert [facts(opened) for opened in again.unwrap(wrapped)] == [facts(key)]


def test_keystore_and_journal_are_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "keystore.sqlite"
        Keystore.create(path, KeystoreHeader.new(ROOT, None))
        open_provider(path).create(A)
    finally:
        os.umask(before)
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_no_primary_key_stands_in_the_file(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    key = data_key()
    provider.wrap(A, [key])
    content = path.read_bytes()
    assert key.secret not in content
    with Keystore(path).reading() as db:
        (wrapped,) = db.execute("SELECT wrapped FROM versions").fetchone()
    assert wrapped in content  # the control: what is in the file is found there


def test_destroy_erases_the_key_bytes(path: Path) -> None:
    provider = open_provider(path)
    for name in (A, B):
        provider.create(name)
        provider.rotate(name)
    with Keystore(path).reading() as db:
        stored = dict(db.execute("SELECT name || version, wrapped FROM versions").fetchall())
    provider.destroy(A, version=1)
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    gone = stored.pop("key:main/a.dev1")
    assert gone not in content
    assert gone[12:28] not in content
    assert all(wrapped in content for wrapped in stored.values())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_keystore_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(WorkspaceError, match="open to other users"):
        Keystore(path)


def test_keystore_of_another_owner_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(WorkspaceError, match="belongs to user"):
        Keystore(path)


def test_keystore_that_is_a_link_a_folder_or_missing_is_refused(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    folder = path.with_name("folder")
    folder.mkdir(mode=0o700)
    for wrong in (link, folder, path.with_name("none")):
        with pytest.raises(WorkspaceError):
            Keystore(wrong)
    assert not path.with_name("none").exists()


def test_unknown_format_is_refused(path: Path) -> None:
    for number in (0, 2, 99):
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {number}")
        with pytest.raises(WorkspaceError, match=f"format {number}"):
            Keystore(path)


def test_hardware_key_planted_in_the_file_is_refused(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE versions SET name = 'key:main/a.hw'")
    with pytest.raises(AssuranceRefused):
        provider.wrap(KeyName.parse("key:main/a.hw"), [data_key()])


def test_wrap_limit_is_counted_per_version_and_batch(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE versions SET wraps = ?", (MAX_WRAPS_PER_KEY_VERSION - 2,))
    with pytest.raises(WrapLimitReached):
        provider.wrap(A, [data_key()] * 3)
    wrapped = provider.wrap(A, [data_key()] * 2)
    with pytest.raises(WrapLimitReached):
        provider.wrap(A, [data_key()])
    with pytest.raises(WrapLimitReached):
        provider.rewrap(wrapped)
    assert len(provider.unwrap(wrapped)) == 2
    provider.rotate(A)
    assert provider.rewrap(wrapped)[0].version == 2


def test_a_process_that_holds_the_keystore_too_long_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore_module, "BUSY_SECONDS", 0.05)
    provider = open_provider(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        provider.create(A)
    holder.execute("ROLLBACK")
    holder.close()
    provider.create(A)


# --- tampering --------------------------------------------------------------------------------------------------------
def test_wrapped_primary_keys_swapped_between_names_are_refused(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    provider.create(B)
    wrapped = provider.wrap(A, [data_key()])
    with sqlite3.connect(path) as db:
        stored = dict(db.execute("SELECT name, wrapped FROM versions").fetchall())
        db.execute("UPDATE versions SET wrapped = ? WHERE name = ?", (stored[str(B)], str(A)))
        db.execute("UPDATE versions SET wrapped = ? WHERE name = ?", (stored[str(A)], str(B)))
    for call in (lambda: provider.unwrap(wrapped), lambda: provider.wrap(B, [data_key()])):
        with pytest.raises(KeystoreDamaged):
            call()


def test_wrapped_primary_key_moved_to_another_version_is_refused(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    provider.rotate(A)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE versions SET wrapped = (SELECT wrapped FROM versions WHERE version = 1)")
    with pytest.raises(KeystoreDamaged):
        provider.wrap(A, [data_key()])


def test_wrapped_primary_key_of_another_keystore_is_refused(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    Keystore.create(other, KeystoreHeader.new(ROOT, None))
    open_provider(other).create(A)
    with sqlite3.connect(other) as db:
        (stolen,) = db.execute("SELECT wrapped FROM versions").fetchone()
    provider = open_provider(path)
    provider.create(A)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE versions SET wrapped = ?", (stolen,))
    with pytest.raises(KeystoreDamaged):
        provider.wrap(A, [data_key()])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET state = 'enabled!'",
        "UPDATE versions SET state = x'00'",
        "UPDATE versions SET version = 'one'",
        "UPDATE versions SET version = 4294967296",
        "UPDATE versions SET version = 0",
        "UPDATE versions SET wraps = 'many'",
        "UPDATE versions SET created = NULL",
        "UPDATE versions SET wrapped = 'text'",
        "UPDATE versions SET name = 'nonsense'",
        "UPDATE wraps SET purpose = 'other'",
        "UPDATE wraps SET dataset_id = x'00'",
        "UPDATE keystore SET id = 'text'",
        "DELETE FROM keystore",
        "UPDATE keystore SET argon2_salt = x'00', argon2_time = 1, argon2_memory = 8, argon2_lanes = 1",
        "UPDATE keystore SET argon2_time = 'x'",
        "DROP TABLE versions",
        "ALTER TABLE wraps RENAME COLUMN digest TO gone",
    ],
)
def test_an_impossible_row_is_damage_and_nothing_else(path: Path, statement: str) -> None:
    provider = open_provider(path)
    provider.create(A)
    provider.wrap(A, [data_key()])
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("PRAGMA ignore_check_constraints = ON")
        try:
            db.execute(statement)
        except sqlite3.IntegrityError:  # a NOT NULL that even an editor cannot pass
            return
    with pytest.raises(KeystoreDamaged):
        use_everything(path)


def use_everything(path: Path) -> None:
    provider = open_provider(path)
    provider.list()
    provider.references(A)
    wrapped = provider.wrap(A, [data_key()])
    provider.release(provider.rewrap(wrapped))
    provider.rotate(A)


def test_random_damage_of_the_file_is_a_redoubt_error_or_harmless(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    key = data_key()
    wrapped = provider.wrap(A, [key])
    sound = path.read_bytes()
    chance = random.Random(20)
    for _ in range(200):
        damaged = bytearray(sound)
        for _ in range(chance.choice((1, 1, 4, 64))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.1:
            del damaged[chance.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            opened = open_provider(path).unwrap(wrapped)
            use_everything(path)
        except RedoubtError:
            continue
        assert [facts(it) for it in opened] == [facts(key)]


# --- the root key -----------------------------------------------------------------------------------------------------
def test_another_root_key_is_refused_before_anything_is_unwrapped(path: Path) -> None:
    open_provider(path).create(A)
    provider = open_provider(path, RootKey(bytes(32)))
    for call in (lambda: provider.wrap(A, [data_key()]), lambda: provider.create(B), lambda: provider.rotate(A)):
        with pytest.raises(RootKeyError, match="does not open"):
            call()
    assert [info.name for info in provider.list()] == [A]


def test_root_key_file_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "root.key"
    made = create_root_key_file(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_root_key_file(file).check_value(b"id") == made.check_value(b"id")
    with pytest.raises(FileExistsError):
        create_root_key_file(file)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
def test_root_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "root.key"
    create_root_key_file(file)
    file.chmod(mode)
    with pytest.raises(RootKeyError, match="open to other users"):
        read_root_key_file(file)


def test_root_key_file_of_another_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "root.key"
    create_root_key_file(file)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(RootKeyError, match="belongs to user"):
        read_root_key_file(file)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_root_key_file_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    file = tmp_path / "root.key"
    file.touch(mode=0o600)
    file.write_bytes(bytes(length))
    with pytest.raises(RootKeyError):
        read_root_key_file(file)


def test_root_key_file_that_is_a_link_fifo_folder_or_missing_is_refused(tmp_path: Path) -> None:
    file, link, fifo = tmp_path / "root.key", tmp_path / "link", tmp_path / "fifo"
    create_root_key_file(file)
    link.symlink_to(file)
    os.mkfifo(fifo, 0o600)
    for wrong in (link, fifo, tmp_path, tmp_path / "none", file / "below"):
        with pytest.raises(RootKeyError):
            read_root_key_file(wrong)


def test_root_key_neither_prints_nor_pickles() -> None:
    assert str(ROOT) == repr(ROOT) == "RootKey(…)"
    with pytest.raises(TypeError):
        pickle.dumps(ROOT)


# --- passphrases ------------------------------------------------------------------------------------------------------
def test_passphrase_opens_the_keystore_and_another_does_not(tmp_path: Path) -> None:
    argon2 = Argon2Parameters()
    assert argon2.memory_kib == ARGON2_MEMORY_KIB
    path = tmp_path / "keystore.sqlite"
    Keystore.create(path, KeystoreHeader.new(argon2.derive(b"correct horse"), argon2))
    header = Keystore(path).header
    assert header.argon2 == argon2

    def unlock(passphrase: bytes) -> LocalProvider:
        return LocalProvider(
            Keystore(path), unlock=lambda it: it.argon2.derive(passphrase) if it.argon2 else pytest.fail("no Argon2id")
        )

    unlock(b"correct horse").create(A)
    with pytest.raises(RootKeyError):
        unlock(b"battery staple").create(B)
    assert unlock(b"never used").describe(A).current.state is KeyState.ENABLED


def test_argon2_agrees_with_the_reference_implementation() -> None:
    from argon2.low_level import Type, hash_secret_raw

    argon2 = Argon2Parameters(salt=bytes(16))
    raw = hash_secret_raw(b"pass", bytes(16), 3, 65536, 4, 32, Type.ID)
    assert argon2.derive(b"pass").check_value(b"x") == RootKey(raw).check_value(b"x")


@pytest.mark.parametrize(
    "bad",
    [{"salt": b"short"}, {"time_cost": 0}, {"time_cost": 65}, {"memory_kib": 8}, {"memory_kib": 2**22}, {"lanes": 0}],
)
def test_argon2_parameters_out_of_bounds_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(KeystoreDamaged):
        Argon2Parameters(**bad)  # type: ignore[arg-type]


def secret_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"word", b"word"),
        (b"word\n", b"word"),
        (b"word\r\n", b"word"),
        (b" two words \n\n", b" two words \n"),
        ("e\u0301".encode(), "é".encode()),
        (b"x" * MAX_PASSPHRASE_BYTES + b"\r\n", b"x" * MAX_PASSPHRASE_BYTES),
    ],
)
def test_passphrase_is_the_same_from_file_descriptor_and_prompt(
    tmp_path: Path, content: bytes, expected: bytes
) -> None:
    file = secret_file(tmp_path / "pass", content)
    assert PassphraseSource(file=file).read() == expected
    with file.open("rb") as opened:
        assert PassphraseSource(descriptor=os.dup(opened.fileno())).read() == expected
    assert PassphraseSource().read(ask=lambda prompt: content.decode()) == expected


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\xff\xfe", b"x" * (MAX_PASSPHRASE_BYTES + 1)])
def test_unusable_passphrase_is_refused(tmp_path: Path, content: bytes) -> None:
    file = secret_file(tmp_path / "pass", content)
    with pytest.raises(RootKeyError):
        PassphraseSource(file=file).read()
    with file.open("rb") as opened, pytest.raises(RootKeyError):
        PassphraseSource(descriptor=os.dup(opened.fileno())).read()


def test_passphrase_file_open_to_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RootKeyError, match="open to other users"):
        PassphraseSource(file=secret_file(tmp_path / "pass", b"word", 0o644)).read()


def test_passphrase_sources_exclude_each_other() -> None:
    assert PassphraseSource.of(file=None, descriptor=None) is None
    assert PassphraseSource.of(file=None, descriptor=None, prompt=True) == PassphraseSource()
    with pytest.raises(UsageError):
        PassphraseSource.of(file=Path("x"), descriptor=3)
    with pytest.raises(UsageError):
        PassphraseSource.of(file=None, descriptor=-1)
    with pytest.raises(UsageError):
        PassphraseSource(descriptor=987).read()


def test_confirmed_passphrase_must_be_typed_twice() -> None:
    answers = iter(["one", "two"])
    with pytest.raises(UsageError, match="differ"):
        PassphraseSource().read(confirm=True, ask=lambda prompt: next(answers))


# --- processes --------------------------------------------------------------------------------------------------------
WORKER = """
import sys
from pathlib import Path
from uuid import uuid4
from redoubt.keys.keystore import Keystore
from redoubt.keys.local import LocalProvider
from redoubt.keys.names import KeyName
from redoubt.keys.rootkey import RootKey
from redoubt.keys.types import DataKey, WrapContext

path, rounds = Path(sys.argv[1]), int(sys.argv[2])
provider = LocalProvider(Keystore(path), unlock=lambda header: RootKey(bytes(range(32))))
name = KeyName.parse("key:main/a.dev")
print("ready", flush=True)
for number in range(rounds):
    (wrapped,) = provider.wrap(name, [DataKey(context=WrapContext(uuid4(), uuid4()), secret=bytes(32))])
    print(wrapped.encode().hex(), flush=True)
    if number % 2:
        provider.rotate(name)
"""


def start_worker(path: Path, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(path), str(rounds)], stdout=subprocess.PIPE, text=True)


def records_of(output: str) -> list[str]:
    """Return the complete records that a worker reported."""
    return [line for line in output.splitlines(keepends=True)[1:] if line.endswith("\n")]


def test_two_processes_wrap_and_rotate_at_once(path: Path) -> None:
    provider = open_provider(path)
    provider.create(A)
    workers = [start_worker(path, 6) for _ in range(2)]
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    records = [WrappedKey.decode(bytes.fromhex(line)) for output in outputs for line in records_of(output)]
    info = provider.describe(A)
    assert [version.version for version in info.versions] == list(range(1, 8))
    assert sum(version.wraps for version in info.versions) == len(records) == 12
    assert len(provider.unwrap(records)) == 12
    assert set(provider.references(A)) == {record.context for record in records}


def test_kill_at_any_point_leaves_the_old_or_the_new_state(path: Path) -> None:
    open_provider(path).create(A)
    chance = random.Random(7)
    reported: list[WrappedKey] = []
    for _ in range(6):
        worker = start_worker(path, 1000)
        assert worker.stdout is not None
        first = worker.stdout.readline()
        time.sleep(chance.uniform(0.02, 0.25))
        worker.kill()
        reported += [WrappedKey.decode(bytes.fromhex(line)) for line in records_of(first + worker.stdout.read())]
        worker.wait()
        provider = open_provider(path)
        info = provider.describe(A)
        assert [version.version for version in info.versions] == list(range(1, len(info.versions) + 1))
        for version in info.versions:
            assert version.wraps == version.references
        assert {record.context for record in reported} <= set(provider.references(A))
        assert len(provider.unwrap(reported[-1024:])) == len(reported[-1024:])
    assert reported
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
