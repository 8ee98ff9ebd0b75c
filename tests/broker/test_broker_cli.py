"""``redoubt broker setup|serve|dev|verify``: a production broker as its own process, an owner who only has a laptop."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.broker.client import Client
from tests.broker.production import environment, free_port, python, served
from tests.broker.world import ALICE, envelope, public, running_world, successor

from redoubt.cli.main import main
from redoubt.keys.workspace import Workspace
from redoubt.pki.server import make_ca
from redoubt.trust.signing import verify_manifest

FIRST = envelope()
SECOND = successor(verify_manifest(FIRST, previous=None))
SECOND_DIGEST = verify_manifest(SECOND, previous=verify_manifest(FIRST, previous=None)).digest


@dataclass
class Laptop:
    """An owner's folder: workspace, key, the CA and the manifest."""

    folder: Path
    broker: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def verify(self, *arguments: str) -> int:
        ca = str(self.broker / "ca.pem")
        given = ["--workspace", str(self.folder), "broker", "verify", self.url, "--ca", ca, "--json", *arguments]
        return main(given)

    def client(self, broker_id: str) -> Client:
        return Client(self.port, (self.broker / "ca.pem").read_bytes(), broker_id)


@pytest.fixture
def laptop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Laptop:
    folder, broker, port = tmp_path / "laptop", tmp_path / "broker", free_port()
    Workspace.init(folder)
    pem = ALICE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "alice.pem").write_bytes(pem)
    (folder / "alice.pem").chmod(0o600)
    (folder / "manifest.json").write_bytes(FIRST.encode())
    owner = ("--bootstrap-owner", public(ALICE))
    assert main(["broker", "setup", str(broker), "--port", str(port), *owner]) == 0
    capsys.readouterr()
    return Laptop(folder, broker, port)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_owner_with_manifest_and_ca_verifies_a_running_broker(
    laptop: Laptop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest, key = str(laptop.folder / "manifest.json"), str(laptop.folder / "alice.pem")
    before = tmp_path / "before.sqlite"
    with served(laptop.broker, laptop.port):
        assert laptop.verify() == 0
        facts = said(capsys)
        assert (facts["simulated"], facts["manifest"]) == (False, None)
        assert laptop.verify("--manifest", manifest) == 3
        assert said(capsys)["error"]["code"] == "manifest.unexpected"
        client = laptop.client(facts["broker"])
        assert client.owner(ALICE, "PUT", "/redoubt/v1/manifest", FIRST.encode()).status == 200
        assert laptop.verify("--manifest", manifest, "--key", key) == 0
        found = said(capsys)
        assert found["manifest"]["expected"] is True
        assert found["audit"]["since_last_contact"] == "1 new row, all whole"
        shutil.copy(laptop.broker / "store.sqlite", before)
        assert client.call("PUT", "/redoubt/v1/manifest", SECOND.encode()).status == 200
        assert laptop.verify("--manifest", manifest) == 3
        assert said(capsys)["error"]["code"] == "manifest.unexpected"
        for _ in range(3):
            client.owner(ALICE, "GET", "/redoubt/v1/audit")
        assert laptop.verify("--digest", SECOND_DIGEST) == 0
        capsys.readouterr()
    shutil.copy(before, laptop.broker / "store.sqlite")
    with served(laptop.broker, laptop.port):
        for more in ((), ("--key", key)):
            assert laptop.verify("--manifest", manifest, *more) == 3
            assert said(capsys)["error"]["code"] == "broker.rollback"


def test_another_broker_in_its_place_is_noticed(
    laptop: Laptop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with served(laptop.broker, laptop.port):
        assert laptop.verify() == 0
    other = tmp_path / "other"
    assert main(["broker", "setup", str(other), "--port", str(laptop.port)]) == 0
    capsys.readouterr()
    with served(other, laptop.port):
        assert laptop.verify() == 3
        assert said(capsys)["error"]["code"] == "broker.untrusted"
        shutil.copy(other / "ca.pem", laptop.broker / "ca.pem")  # even with a CA that vouches for it
        assert laptop.verify() == 3
        assert said(capsys)["error"]["code"] == "broker.untrusted"


def test_verify_with_what_is_no_ca(laptop: Laptop, capsys: pytest.CaptureFixture[str]) -> None:
    (laptop.broker / "ca.pem").write_bytes(b"no certificate")
    assert laptop.verify() == 2
    assert "BEGIN CERTIFICATE" in said(capsys)["error"]["cause"]
    (laptop.broker / "ca.pem").write_bytes(make_ca("other", now=datetime.now(UTC)).certificate)
    assert laptop.verify("--manifest", "a", "--digest", "b") == 2


def test_a_busy_port_is_named_as_the_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path)]) == 0
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        capsys.readouterr()
        port = str(other.getsockname()[1])
        assert main(["--workspace", str(tmp_path), "--json", "broker", "dev", "--port", port]) == 7
    assert said(capsys)["error"]["cause"].startswith("The port is in use")


def test_setup_makes_private_files_and_touches_nothing_that_is_there(
    laptop: Laptop, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {it.name: it.stat().st_mode & 0o777 for it in laptop.broker.iterdir()}
    assert set(files) >= {"broker.toml", "ca.pem", "ca.key", "server.pem", "server.key", "root.key", "store.sqlite"}
    assert set(files.values()) == {0o600}
    assert main(["broker", "setup", str(laptop.broker)]) == 2
    assert "--force" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["https://broker.example", "broker.example:8443", "a b", "", "10.0.0.300", "fe80::1%eth0"]
)
def test_setup_refuses_what_is_no_host(tmp_path: Path, host: str) -> None:
    """No client could reach the broker under such a name, and its certificate could not be made again."""
    assert main(["broker", "setup", str(tmp_path / "broker"), "--host", host]) == 2
    assert not (tmp_path / "broker").exists()


def test_serve_refuses_to_start_where_redoubt_dev_is_importable(
    laptop: Laptop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broker", "serve", str(laptop.broker), "--json"]) == 7
    assert said(capsys)["error"]["code"] == "broker.development_installed"


def test_production_has_no_command_for_development() -> None:
    """The environment of the served broker is one without redoubt-dev, so the test above is not vacuous."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('redoubt_dev') is not None)"
    assert subprocess.run(python("-c", code), env=environment(), check=False).returncode == 0
    command = python("-m", "redoubt.cli.main", "broker", "dev")
    done = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No such command" in done.stderr


@pytest.mark.parametrize(("file", "code"), [("root.key", "broker.root_key"), ("server.key", "broker.config")])
def test_serve_with_another_key_does_not_start(laptop: Laptop, file: str, code: str) -> None:
    other = bytes(32) if file == "root.key" else (laptop.broker / "ca.key").read_bytes()
    (laptop.broker / file).write_bytes(other)
    command = python("-m", "redoubt.cli.main", "broker", "serve", str(laptop.broker))
    done = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert f"[{code}]" in done.stderr


def test_development_broker_says_what_it_is_and_ends_cleanly(tmp_path: Path) -> None:
    Workspace.init(tmp_path)
    ca = tmp_path / "ca.pem"
    command = [sys.executable, "-m", "redoubt.cli.main", "--workspace", str(tmp_path), "broker", "dev"]
    process = subprocess.Popen([*command, "--port", "0", "--ca", str(ca)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    warning, line = process.stderr.readline(), process.stderr.readline()
    url = line.split()[-1]
    assert "DEVELOPMENT BROKER" in warning
    assert url.startswith("https://127.0.0.1:")
    given = ["--workspace", str(tmp_path), "broker", "verify", url, "--ca", str(ca)]
    assert main([*given, "--simulated"]) == 0
    assert main(given) == 3
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)


def test_development_broker_starts_fast_and_leaves_nothing_running(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    began = time.perf_counter()
    with running_world(tmp_path) as world:
        started = time.perf_counter() - began
        assert world.machine().attest()
    left = {it for it in set(threading.enumerate()) - before if it.name == "redoubt-broker"}
    assert not left
    assert started < 5  # 0.4 s on a machine that is not loaded, with the workspace that is made for it
