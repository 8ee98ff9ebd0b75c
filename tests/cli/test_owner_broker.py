"""Owners with their keys at a broker, by the command line: from an empty broker to data that opens, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.broker.world import ALICE, BOB, MALLORY, OTHER_PROGRAM, World, public, running_world
from tests.keys.provider_contract import data_key
from tests.protocol.owners_broker import CA, OwnersBroker, running_broker

from redoubt.cli.main import main
from redoubt.errors import ExitStatus, NamespaceUnmapped
from redoubt.keys.names import KeyName
from redoubt.keys.workspace import Workspace
from redoubt_dev.workspace_store import WorkspaceProvider, WorkspaceStore

RAW = KeyName.parse("key:lake/raw.dev")


class Shell:
    """A folder with a workspace, in which an owner runs commands."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.said = ""

    def __call__(self, *arguments: str | Path, status: ExitStatus = ExitStatus.OK) -> Any:
        assert main(["--json", *map(str, arguments)]) == status, arguments
        captured = self._capsys.readouterr()
        self.said = captured.err
        return json.loads(captured.out)

    def fails(self, *arguments: str | Path, code: str) -> None:
        assert main(["--json", *map(str, arguments)]) != ExitStatus.OK
        assert json.loads(self._capsys.readouterr().out)["error"]["code"] == code


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    shell = Shell(capsys)
    shell("init")
    for name, key in (("alice", ALICE), ("bob", BOB), ("mallory", MALLORY)):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        Path(f"{name}.pem").touch(0o600)
        Path(f"{name}.pem").write_bytes(pem)
    return shell


@pytest.fixture
def broker(tmp_path: Path, run: Shell) -> Iterator[OwnersBroker]:
    (tmp_path / "broker").mkdir()
    with running_broker(tmp_path / "broker") as found:
        Path("ca.pem").write_bytes(CA.certificate)
        yield found


def map_lake(run: Shell, url: str, **changes: str) -> None:
    settings = {"url": url, "ca": "ca.pem", "owner_key": "alice.pem", **changes}
    run("keys", "map", "lake", "broker", *(it for name in settings for it in ("--set", f"{name}={settings[name]}")))


def write_manifest(run: Shell, dataset: str, *, key: str = "key:lake/raw.dev") -> None:
    Path("manifest.toml").unlink(missing_ok=True)
    run("manifest", "init", "--owner", "alice", "--key", "alice.pem")
    run("manifest", "add-dataset", "raw", "--id", dataset, "--owner", "alice", "--key", key)
    run("manifest", "add-program", "job", "--digest", OTHER_PROGRAM)
    claim = "simulated.warning=SIMULATED: proves nothing about hardware"
    run("manifest", "add-tee", "laptop", "--kind", "simulated", "--binding", "agent", "--reference", claim)
    run("manifest", "add-grant", "--program", "job", "--tee", "laptop", "--dataset", "raw", "--read")
    run("manifest", "sign", "--key", "alice.pem")


def test_from_an_empty_broker_to_data_that_opens(run: Shell, broker: OwnersBroker) -> None:
    at = ("--broker", broker.url, "--ca", "ca.pem")
    map_lake(run, broker.url, broker_id=broker.id)
    assert run("keys", "create", "lake/raw")["name"] == "key:lake/raw.dev"
    Path("in").mkdir()
    Path("in/people.csv").write_text("a,b\n1,2\n")
    dataset = run("seal", "in", "sealed", "--key", "lake/raw")["dataset"]
    run.fails("unseal", "sealed", "out", code="key.provider_denied")  # no manifest names its owner yet
    write_manifest(run, dataset)
    run.fails("manifest", "set", *at, code="broker.owner_unknown")
    run.fails("manifest", "set", *at, "--owner-key", "bob.pem", code="broker.owner_unknown")
    made = run("manifest", "set", *at, "--owner-key", "alice.pem", "--broker-id", broker.id)
    assert run("manifest", "set")["digest"] == made["digest"]  # in the workspace too
    run("unseal", "sealed", "out")
    assert Path("out/people.csv").read_text() == "a,b\n1,2\n"

    assert run("keys", "rotate", "lake/raw")["versions"][-1]["version"] == 2
    run("rewrap", "sealed")
    run("keys", "destroy", "lake/raw", "--version", "1", "--yes")
    run("unseal", "sealed", "again")
    assert run("doctor")

    run("manifest", "next")
    run("manifest", "sign", "--key", "alice.pem")
    assert run("manifest", "set", *at)["version"] == 2
    listed = run("manifest", "log", *at, "--owner-key", "alice.pem")["manifests"]
    assert [it["version"] for it in listed] == [1, 2]
    run.fails("manifest", "log", *at, "--owner-key", "mallory.pem", code="broker.owner_unknown")

    owner = ("--ca", "ca.pem", "--owner-key", "alice.pem")
    exported = run("audit", "export", broker.url, "audit.jsonl", "--head", "head.jws", *owner)
    assert exported["rows"] > 10
    jwks = {"keys": broker.client().facts().key_set(broker.store.signing_key.public_key())["keys"]}
    Path("broker.jwks").write_text(json.dumps(jwks))
    verified = run("audit", "verify", "audit.jsonl", "--head", "head.jws", "--keys", "broker.jwks")
    assert verified["rows"] == exported["rows"]
    at_once = run("audit", "verify", broker.url, *owner)
    assert at_once["rows"] == at_once["head"]["number"] > exported["rows"]


def test_owner_registers_the_head_that_programs_then_hold_to(run: Shell, broker: OwnersBroker) -> None:
    map_lake(run, broker.url)
    run("keys", "create", "lake/raw")
    Path("in").mkdir()
    Path("in/a").write_text("secret")
    sealed = run("seal", "in", "sealed", "--key", "lake/raw")
    write_manifest(run, sealed["dataset"])
    at = ("--broker", broker.url, "--ca", "ca.pem")
    run("manifest", "set", *at, "--owner-key", "alice.pem")
    run.fails("register", "sealed", *at, "--owner-key", "mallory.pem", code="broker.owner_unknown")
    run.fails("register", "sealed", *at, "--owner-key", "bob.pem", code="broker.owner_unknown")
    run.fails("register", "sealed", *at, code="broker.owner_unknown")
    run.fails("register", "sealed", "--ca", "ca.pem", code="usage.invalid")
    done = run("register", "sealed", *at, "--owner-key", "alice.pem")
    assert (done["number"], done["digest"]) == (1, sealed["commit_digest"])
    known = broker.store.register.head(UUID(sealed["dataset"]))
    assert known is not None
    assert (known.number, known.digest) == (1, sealed["commit_digest"])
    assert [it.event["event"] for it in broker.store.audit.entries() if it.event["event"] == "register"]


def test_workspace_registers_at_its_development_broker(run: Shell) -> None:
    Path("in").mkdir()
    Path("in/a").write_text("secret")
    sealed = run("seal", "in", "sealed")
    run.fails("register", "sealed", "--at-commit", "sha256:" + "0" * 64, code="sealed.commit_unexpected")
    assert run("register", "sealed")["digest"] == sealed["commit_digest"]
    store = WorkspaceStore.open(Workspace.open(Path.cwd()))
    assert store.register.head(UUID(sealed["dataset"])) is not None
    store.close()


def test_owner_of_nothing_opens_nothing(run: Shell, broker: OwnersBroker) -> None:
    map_lake(run, broker.url)
    run("keys", "create", "lake/raw")
    Path("in").mkdir()
    Path("in/a").write_text("secret")
    write_manifest(run, run("seal", "in", "sealed", "--key", "lake/raw")["dataset"])
    run("manifest", "set", "--broker", broker.url, "--ca", "ca.pem", "--owner-key", "alice.pem")
    map_lake(run, broker.url, owner_key="mallory.pem")
    run.fails("unseal", "sealed", "out", code="key.provider_denied")
    assert not Path("out").exists()
    map_lake(run, broker.url, broker_id="ab" * 32)
    run.fails("unseal", "sealed", "out", code="key.provider_untrusted")


def test_options_of_a_broker_without_one_are_refused(run: Shell) -> None:
    Path("x").write_text("x")
    run.fails("manifest", "log", "--owner-key", "alice.pem", code="usage.invalid")
    run.fails("manifest", "log", "--broker", "https://127.0.0.1:9", code="usage.invalid")
    run.fails("manifest", "set", "x", "--ca", "x", code="usage.invalid")
    run.fails("explain", "x", "--ca", "x", code="usage.invalid")
    run.fails("audit", "export", "store", "a", "--head", "h", "--ca", "x", code="usage.invalid")
    url = ("https://127.0.0.1:9", "a", "--head", "h", "--root-key-file", "x")
    run.fails("audit", "export", *url, code="usage.invalid")
    run.fails("audit", "verify", "x", "--ca", "x", code="usage.invalid")
    run.fails("audit", "verify", "https://127.0.0.1:9", "--head", "x", code="usage.invalid")
    run.fails("audit", "verify", "https://127.0.0.1:9", code="usage.invalid")


def test_refusal_is_explained_by_the_broker_to_an_owner_alone(run: Shell, tmp_path: Path) -> None:
    with running_world(tmp_path / "world") as world:
        Path("ca.pem").write_bytes(world.broker.ca_pem)
        refusal = _refused(world)
        at = ("--broker", world.broker.url, "--ca", "ca.pem")
        found = run("explain", refusal, *at, "--owner-key", "alice.pem")
        assert (found["id"], found["failures"][0]["claim"]) == (refusal, "program.digest")
        run.fails("explain", refusal, *at, "--owner-key", "mallory.pem", code="broker.owner_unknown")
        missing = ("explain", "00000000-0000-4000-8000-000000000000", *at, "--owner-key", "alice.pem")
        run.fails(*missing, code="broker.refusal_missing")
        run.fails("explain", "not-an-id", *at, "--owner-key", "alice.pem", code="usage.invalid")


def _refused(world: World) -> str:
    """The id of the refusal of a program that no manifest names."""
    machine = world.machine("sha256:" + "ef" * 32)
    cookie, challenge = machine.challenge()
    answer = machine.send(cookie, machine.request(challenge.nonce))
    return str(answer.json["instance"]).removeprefix("urn:uuid:")


def test_development_broker_serves_an_owner_of_another_workspace(run: Shell, tmp_path: Path) -> None:
    with running_world(tmp_path / "world") as world:
        Path("ca.pem").write_bytes(world.broker.ca_pem)
        run("keys", "map", "main", "local")
        map_lake(run, world.broker.url)
        run.fails("keys", "create", "lake/raw", code="key.provider_denied")  # the broker's workspace has no `lake`
        assert [it["name"] for it in run("keys", "list")["keys"]] == ["key:main/default.dev"]


def test_development_broker_releases_no_key_that_lies_at_a_broker(run: Shell, broker: OwnersBroker) -> None:
    map_lake(run, broker.url)
    run("keys", "create", "lake/raw")
    provider = WorkspaceProvider(Workspace.open(Path()))
    (wrapped,) = broker.provider().wrap(RAW, [data_key()])
    for call in (lambda: provider.describe(RAW), lambda: provider.unwrap([wrapped]), lambda: provider.rotate(RAW)):
        with pytest.raises(NamespaceUnmapped, match="lies at a broker"):
            call()
    broker.running.close()
    assert [str(it.name) for it in provider.list()] == ["key:main/default.dev"]  # and the broker is not asked


def test_setup_without_an_owner_warns_that_nobody_can_begin(run: Shell, tmp_path: Path) -> None:
    run("broker", "setup", tmp_path / "silent", "--bootstrap-owner", public(ALICE))
    assert "WARNING" not in run.said
    run("broker", "setup", tmp_path / "nobody")
    assert "WARNING: broker.toml names no bootstrap_owners" in run.said
    run.fails("broker", "setup", tmp_path / "wrong", "--bootstrap-owner", "alice", code="usage.invalid")
    assert not (tmp_path / "wrong").exists()


def test_data_under_the_broker_opens_only_through_it(run: Shell, broker: OwnersBroker) -> None:
    map_lake(run, broker.url)
    run("keys", "create", "lake/raw")
    Path("in").mkdir()
    Path("in/a").write_text("secret")
    run("seal", "in", "sealed", "--key", "lake/raw")
    broker.running.close()
    run.fails("unseal", "sealed", "out", code="key.provider_unreachable")
