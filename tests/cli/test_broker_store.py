"""``redoubt broker`` and ``redoubt audit`` on a store, as an operator runs them: make, back up, lose, recover."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from redoubt.broker.location import SqliteLocation
from redoubt.broker.root import FileRoot, ProviderRoot
from redoubt.broker.store import SqlStore
from redoubt.cli.main import main
from redoubt.errors import ExitStatus
from redoubt.keys.names import KeyName
from redoubt.keys.workspace import DEFAULT_KEY, Workspace
from redoubt.trust.audit_chain import ChainEnd
from redoubt.trust.audit_head import sign_head

A = KeyName.parse("key:main/a.dev")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Shell:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, status: ExitStatus = ExitStatus.OK) -> Any:
        """Run the command with ``--json``, check its status, and return the object that it printed."""
        assert main(["--json", *map(str, arguments)]) == status
        return json.loads(self._capsys.readouterr().out)

    def fails(self, *arguments: str | Path, code: str) -> None:
        """Run a command that must fail with *code*."""
        assert main(["--json", *map(str, arguments)]) != ExitStatus.OK
        assert json.loads(self._capsys.readouterr().out)["error"]["code"] == code


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


ROOT = ("--root-key-file", "broker.key")
STORE = "broker.sqlite"


@pytest.fixture
def store(run: Shell, here: Path) -> SqlStore:
    run("broker", "init", STORE, *ROOT)
    opened = SqlStore.open(SqliteLocation(here / STORE), source=FileRoot(here / "broker.key"))
    opened.provider.create(A)
    for number in range(4):
        opened.audit.append({"n": number}, at=datetime(2026, 6, 1, tzinfo=UTC))
    return opened


def test_lost_store_and_root_key_are_recovered_with_shares(run: Shell, store: SqlStore, here: Path) -> None:
    run("broker", "backup", STORE, "store.backup", *ROOT)
    made = run("broker", "split", STORE, "--threshold", "2", "--shares", "3", "--out", "shares", *ROOT)
    assert len(made["files"]) == 3
    for path in made["files"]:
        assert (here / path).stat().st_mode & 0o777 == 0o600
    for gone in (STORE, "broker.key"):
        (here / gone).unlink()
    shares = ("--share", made["files"][2], "--share", made["files"][0])
    run.fails(
        "broker", "restore", "store.backup", STORE, *shares[:2], "--root-key-file", "n", code="broker.share_invalid"
    )
    assert not (here / "n").exists()
    run("broker", "restore", "store.backup", STORE, *shares, "--root-key-file", "new.key")
    again = SqlStore.open(SqliteLocation(here / STORE), source=FileRoot(here / "new.key"))
    assert again.provider.list() == store.provider.list()
    run.fails("broker", "restore", "store.backup", STORE, "--root-key-file", "new.key", code="broker.root_key")


def test_restore_with_the_root_key_keeps_it_and_overwrites_nothing(run: Shell, store: SqlStore, here: Path) -> None:
    run("broker", "backup", STORE, "store.backup", *ROOT)
    run.fails("broker", "backup", STORE, "store.backup", *ROOT, code="usage.exists")
    run.fails("broker", "restore", "store.backup", STORE, *ROOT, code="broker.store_exists")
    run("broker", "restore", "store.backup", "again.sqlite", *ROOT)
    again = SqlStore.open(SqliteLocation(here / "again.sqlite"), source=FileRoot(here / "broker.key"))
    assert again.provider.list() == store.provider.list()


def test_shares_are_sealed_for_their_owners(run: Shell, store: SqlStore, here: Path) -> None:
    owners = ["alice", "bob"]
    keys = [run("broker", "recipient", f"{owner}.pem")["recipient"] for owner in owners]
    split = ("broker", "split", STORE, "--threshold", "2", "--shares", "2", "--out", "shares", *ROOT)
    run.fails(*split, "--recipient", keys[0], code="usage.invalid")
    run.fails(*split, "--recipient", keys[0], "--recipient", keys[0], code="usage.invalid")
    made = run(*split, "--recipient", keys[0], "--recipient", keys[1])
    for owner, path in zip(owners, made["files"], strict=True):
        assert (here / path).read_text().startswith("redoubt-sealed-share-1:")
        run("broker", "open-share", path, "--key", f"{owner}.pem", "--out", f"{owner}.txt")
        assert (here / f"{owner}.txt").stat().st_mode & 0o777 == 0o600
    run.fails("broker", "open-share", made["files"][0], "--key", "bob.pem", "--out", "x", code="broker.share_invalid")
    shares = ("--share", "alice.txt", "--share", "bob.txt")
    run.fails("broker", "exchange-root", STORE, *shares, *ROOT, "--new-root-key-file", "n", code="usage.invalid")
    run("broker", "exchange-root", STORE, *shares, "--new-root-key-file", "new.key")
    run.fails("broker", "backup", STORE, "b", *ROOT, code="broker.root_key")
    run("broker", "backup", STORE, "b", "--root-key-file", "new.key")


def test_root_key_under_a_passphrase_and_then_under_a_primary_key(run: Shell, here: Path) -> None:
    workspace = Workspace.init(here)
    for name, phrase in (("one", "correct horse"), ("two", "battery staple")):
        (here / name).write_text(phrase)
        (here / name).chmod(0o600)
    passphrase = ("--root-passphrase", "--passphrase-file", "one")
    run("broker", "init", STORE, *passphrase)
    run.fails("broker", "backup", STORE, "b", "--root-passphrase", "--passphrase-file", "two", code="broker.root_key")
    run("broker", "exchange-root", STORE, *passphrase, "--new-root-key", "default")
    run("broker", "backup", STORE, "b", "--root-key", "default")
    opened = SqlStore.open(
        SqliteLocation(here / STORE), source=ProviderRoot(workspace.provider_for(DEFAULT_KEY), DEFAULT_KEY)
    )
    opened.provider.create(A)
    run.fails("broker", "backup", STORE, "c", *passphrase, code="broker.root_key")
    (reference,) = workspace.provider_for(DEFAULT_KEY).references(DEFAULT_KEY)
    assert reference.dataset_id == opened.identity.id  # so that the key is not destroyed by mistake


@pytest.mark.parametrize("options", [(), (*ROOT, "--root-key", "default"), (*ROOT, "--root-passphrase")])
def test_root_key_comes_from_one_place(run: Shell, options: tuple[str, ...]) -> None:
    run.fails("broker", "init", STORE, *options, code="usage.invalid")


# --- audit ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def exported(run: Shell, store: SqlStore, here: Path) -> Path:
    run("audit", "export", STORE, "audit.jsonl", "--head", "head.jws", *ROOT)
    pem = store.signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (here / "keys.pem").write_bytes(pem)
    return here / "audit.jsonl"


SIGNED = ("--head", "head.jws", "--keys", "keys.pem")


def test_exported_log_is_verified_offline(run: Shell, exported: Path) -> None:
    found = run("audit", "verify", exported, *SIGNED)
    assert (found["rows"], found["head"]["number"]) == (4, 4)
    assert run("audit", "verify", exported)["head"] is None
    run.fails("audit", "verify", exported, "--head", "head.jws", code="usage.invalid")


def test_removed_audit_row_is_refused(run: Shell, exported: Path) -> None:
    lines = exported.read_bytes().splitlines(keepends=True)
    exported.write_bytes(b"".join(lines[:1] + lines[2:]))
    run.fails("audit", "verify", exported, code="broker.audit_missing")


def test_every_break_of_an_export_has_its_code(run: Shell, exported: Path, store: SqlStore, here: Path) -> None:
    lines = exported.read_bytes().splitlines(keepends=True)

    def broken(*content: bytes, code: str) -> None:
        exported.write_bytes(b"".join(content))
        run.fails("audit", "verify", exported, *SIGNED, code=code)

    broken(lines[0], lines[1].replace(b'"n":1', b'"n":7'), *lines[2:], code="broker.audit_changed")
    broken(lines[0], lines[1], lines[1], *lines[2:], code="broker.audit_misplaced")
    broken(*lines[:3], code="broker.audit_truncated")
    broken(*lines[:3], b"x" * 100_000, code="broker.audit_broken")
    exported.write_bytes(b"".join(lines))
    forged = ChainEnd(number=2, digest="sha256:" + "0" * 64)
    (here / "head.jws").write_bytes(sign_head(forged, key=store.signing_key, at=datetime(2026, 6, 1, tzinfo=UTC)))
    run.fails("audit", "verify", exported, *SIGNED, code="broker.audit_forked")
