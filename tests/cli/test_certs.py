"""``redoubt certs``, end to end: what it makes, who may read it when, and rotations that something interrupts."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from redoubt.cli.main import main
from redoubt.keys import private
from redoubt.pki.enclave import make_enclave_key, mrsigner
from redoubt.pki.internal import InternalAuthority, ServerIdentity

SOURCE = Path(__file__).parents[2] / "src"
HOSTS = ("--host", "spark.example", "--host", "127.0.0.1")
SEEDS = {
    "keys": {"keystore.jks", "keystore.pkcs12", "server.crt", "server.csr", "server.key", "server.pem"},
    "password": {"key.txt", "output.bin"},
}
SECRETS = {
    "keys/keys.yaml": "ssl-keys",
    "password/password.yaml": "ssl-password",
    "password/spark-secret.yaml": "spark-secret",
    "enclave/enclave-key.yaml": "enclave-key",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind, not to be changed."""
    home = tmp_path_factory.mktemp("certs")
    assert main(["certs", "generate", str(home / "plain"), *HOSTS]) == 0
    assert main(["certs", "generate", str(home / "ppml"), *HOSTS, "--ppml"]) == 0
    return {"plain": home / "plain", "ppml": home / "ppml"}


@pytest.fixture
def folder(made: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of one's own."""
    shutil.copytree(made["plain"], tmp_path / "certs")
    return tmp_path / "certs"


def shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["certs", "show", str(folder), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run what must be refused, and return the error's code."""
    capsys.readouterr()
    assert main(["certs", *map(str, arguments), "--json"]) != 0
    return str(json.loads(capsys.readouterr().out)["error"]["code"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def entries(file: Path) -> dict[str, bytes]:
    found = yaml.safe_load(file.read_bytes())
    return {name: base64.b64decode(text) for name, text in found["data"].items()}


def reachable(bundle: bytes, server: bytes, *, now: datetime | None = None) -> None:
    """Check that a client with *bundle* accepts *server*'s chain, as an independent verifier of web chains sees it."""
    leaf, *above = x509.load_pem_x509_certificates(server)
    policy = PolicyBuilder().store(Store(x509.load_pem_x509_certificates(bundle))).time(now or datetime.now(UTC))
    policy.build_server_verifier(x509.DNSName("spark.example")).verify(leaf, above)


# --- what is made -----------------------------------------------------------------------------------------------------
def test_the_files_of_the_seeds_have_their_names(made: dict[str, Path]) -> None:
    for inner, names in SEEDS.items():
        assert names <= {it.name for it in (made["ppml"] / inner).iterdir()}
    only_ppml = {"server.csr", "key.txt", "output.bin"}
    assert only_ppml == {it.name for it in made["ppml"].rglob("*")} - {it.name for it in made["plain"].rglob("*")}
    assert (made["plain"] / "enclave/enclave-key.pem").is_file()


@pytest.mark.parametrize("kind", ["plain", "ppml"])
@pytest.mark.parametrize("file", SECRETS)
def test_kubernetes_takes_every_secret(made: dict[str, Path], kind: str, file: str) -> None:
    found = yaml.safe_load((made[kind] / file).read_bytes())
    assert found["metadata"]["name"] == SECRETS[file]
    for version in ("1.25", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(found, version, strict=True)


def test_secrets_hold_the_files_beside_them(made: dict[str, Path]) -> None:
    folder = made["ppml"]
    mounted = entries(folder / "keys/keys.yaml")
    assert set(mounted) == SEEDS["keys"] | {"ca.crt", "truststore.pkcs12"}
    for name, content in mounted.items():
        inner = "trust" if name in ("ca.crt", "truststore.pkcs12") else "keys"
        assert content == (folder / inner / name).read_bytes()
    password = (folder / "password/keystore-password").read_bytes()
    assert set(entries(folder / "password/password.yaml")) == SEEDS["password"] | {"keystore-password"}
    assert entries(folder / "password/spark-secret.yaml") == {"secret": password}, "PPML's lines know one password"
    assert entries(folder / "enclave/enclave-key.yaml") == {
        "enclave-key.pem": (folder / "enclave/enclave-key.pem").read_bytes()
    }


def test_passwords_are_long_and_for_one_purpose_each(made: dict[str, Path]) -> None:
    found = [(made["plain"] / f"password/{name}").read_text() for name in ("keystore-password", "spark-secret")]
    assert all(re.fullmatch(r"[0-9a-f]{64}", it) for it in found)
    assert len({*found, (made["ppml"] / "password/keystore-password").read_text()}) == 3


def test_the_ca_key_goes_to_no_server(made: dict[str, Path]) -> None:
    key = (made["ppml"] / "ca/authority.pem").read_bytes().splitlines()[1]
    holders = [name for name, content in contents(made["ppml"]).items() if key in content]
    assert holders == ["ca/authority.pem"]
    in_secrets = b"".join(b"".join(entries(made["ppml"] / file).values()) for file in SECRETS)
    assert key not in in_secrets


@pytest.mark.parametrize("kind", ["plain", "ppml"])
def test_openssl_takes_what_is_made(made: dict[str, Path], kind: str) -> None:
    folder = made[kind]

    def openssl(*arguments: str) -> str:
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    key = openssl("pkey", "-in", "keys/server.key", "-pubout")
    assert openssl("x509", "-in", "keys/server.crt", "-noout", "-pubkey") == key
    assert openssl("x509", "-in", "keys/server.pem", "-noout", "-pubkey") == key
    secret = ("-passin", "file:password/keystore-password")
    inside = openssl("pkcs12", "-in", "keys/keystore.pkcs12", *secret, "-nodes")
    assert (folder / "keys/server.key").read_text() in inside
    assert (folder / "keys/server.crt").read_text() in inside
    assert "OK" in openssl("verify", "-x509_strict", "-CAfile", "trust/ca.crt", "keys/server.crt")
    if kind == "ppml":
        request = openssl("req", "-in", "keys/server.csr", "-noout", "-verify", "-pubkey", "-text")
        assert key in request
        assert "DNS:spark.example, IP Address:127.0.0.1" in request
        line = ("pkeyutl", "-inkey", "password/key.txt", "-decrypt", "-in", "password/output.bin")
        assert openssl(*line) == (folder / "password/keystore-password").read_text()


def test_existing_folder_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    assert refused(capsys, "generate", folder) == "usage.exists"
    (folder.parent / "empty").mkdir()
    (folder.parent / "link").symlink_to(folder.parent / "nowhere")
    for name in ("empty", "link"):
        assert refused(capsys, "generate", folder.parent / name) == "usage.exists"
    assert contents(folder) == before
    assert sorted(it.name for it in folder.parent.iterdir()) == ["certs", "empty", "link"]


def test_folder_that_appears_meanwhile_is_not_overwritten(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = folder.parent / "late"

    def racing(path: Path, content: bytes) -> None:
        late.mkdir(exist_ok=True)
        (late / "mine").write_text("kept")
        path.write_bytes(content)

    monkeypatch.setattr("redoubt.cli.certs_folder.create_private_file", racing)
    assert refused(capsys, "generate", late) == "usage.exists"
    assert contents(late) == {"mine": b"kept"}
    assert sorted(it.name for it in folder.parent.iterdir()) == ["certs", "late"]


def test_own_enclave_key_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.pem").touch(mode=0o600)
    (tmp_path / "mine.pem").write_bytes(make_enclave_key())
    assert main(["certs", "generate", str(tmp_path / "c"), "--enclave-key", str(tmp_path / "mine.pem")]) == 0
    assert shown(tmp_path / "c", capsys)["mrsigner"] == mrsigner((tmp_path / "mine.pem").read_bytes())
    (tmp_path / "mine.pem").chmod(0o644)
    assert refused(capsys, "generate", tmp_path / "d", "--enclave-key", tmp_path / "mine.pem") == "usage.invalid"


@pytest.mark.parametrize(
    "arguments", [("--host", "http://x"), ("--name", ""), ("--name", " "), ("--name", "a\nb"), ("--name", "n" * 41)]
)
def test_wrong_names_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    assert refused(capsys, "generate", tmp_path / "c", *arguments) == "usage.invalid"
    assert list(tmp_path.iterdir()) == []


# --- who may read it, at any moment -----------------------------------------------------------------------------------
CREATED = re.compile(
    r'^\d+ +(?:openat|open|creat)\((?:\w+, )?"([^"]*)", [^)]*O_CREAT[^)]*, (0\d+)\) += \d+', re.MULTILINE
)
FOLDERS = re.compile(r'^\d+ +mkdir(?:at)?\((?:\w+, )?"([^"]*)", (0\d+)\) += 0', re.MULTILINE)
CHANGED = re.compile(r"^\d+ +f?chmod(?:at)?\((?:\w+, )?[^,]*, (0\d+)", re.MULTILINE)


def trace(folder: Path, *command: str) -> str:
    """Run *command* with umask 0, so that modes are what it asks for, and return its system calls about files."""
    log = folder / "trace"
    calls = "trace=open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,chmod,fchmod,fchmodat,link,linkat,execve"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["strace", "-f", "-s", "4096", "-e", calls, "-o", str(log), *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        umask=0,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return log.read_text() + done.stdout + done.stderr


def open_to_others(log: str, folder: Path) -> tuple[list[str], int]:
    """Return what was made below *folder*, or set, with a mode that lets others in, and how much was made at all."""
    created = [
        (path, mode) for path, mode in CREATED.findall(log) + FOLDERS.findall(log) if path.startswith(str(folder))
    ]
    modes = [*created, *(("chmod", mode) for mode in CHANGED.findall(log))]
    return [f"{path} {mode}" for path, mode in modes if int(mode, 8) & 0o077], len(created)


def test_no_file_is_open_to_others_for_a_moment(tmp_path: Path) -> None:
    """By the system calls of the whole process, libraries included, with umask 0; and no secret is in any of them."""
    command = (sys.executable, "-m", "redoubt.cli.main", "certs")
    target = tmp_path / "certs"
    control, _ = open_to_others(trace(tmp_path, sys.executable, "-c", f"open({str(target)!r}, 'w')"), tmp_path)
    assert control == [f"{target} 0666"]
    target.unlink()
    for arguments in (("generate", str(target), "--ppml"), ("rotate", str(target), "--ca")):
        log = trace(tmp_path, *command, *arguments)
        wide, count = open_to_others(log, tmp_path)
        assert wide == []
        assert count >= len(contents(target)) // 2, "the trace was read"
        assert len(re.findall(r"^\d+ +execve\(", log, re.MULTILINE)) == 1, "no other program gets a secret"
        for name in ("keystore-password", "spark-secret"):
            assert (target / "password" / name).read_text() not in log
    for path in [target, *target.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("file", ["ca/authority.pem", "keys/server.pem"])
def test_folder_that_others_can_read_is_refused(folder: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / file).chmod(0o640)
    assert refused(capsys, "show", folder) == "pki.folder"
    assert refused(capsys, "rotate", folder) == "pki.folder"


def test_link_in_place_of_a_key_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ca/authority.pem").rename(folder / "elsewhere")
    (folder / "ca/authority.pem").symlink_to(folder / "elsewhere")
    assert refused(capsys, "rotate", folder) == "pki.folder"


# --- rotation ---------------------------------------------------------------------------------------------------------
def test_renewal_keeps_ca_passwords_and_enclave_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, facts = contents(folder), shown(folder, capsys)
    assert main(["certs", "rotate", str(folder)]) == 0
    after = contents(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert set(before) == set(after)
    store = "trust/truststore.pkcs12"  # with a new salt
    assert changed == {store, *(name for name in before if name.startswith("keys/"))}
    now = shown(folder, capsys)
    assert now["ca_sha256"] == facts["ca_sha256"]
    assert now["server_sha256"] != facts["server_sha256"]
    assert (now["name"], now["hosts"]) == ("redoubt", ["spark.example", "127.0.0.1"])


def test_rotation_of_the_ca_keeps_everybody_reachable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    assert main(["certs", "rotate", str(folder), "--ca", "--overlap-days", "30"]) == 0
    after, facts = contents(folder), shown(folder, capsys)
    for trust in (before, after):
        for server in (before, after):
            reachable(trust["trust/ca.crt"], server["keys/server.crt"])
    assert datetime.fromisoformat(facts["overlap_ends"]) - datetime.now(UTC) < timedelta(days=30)
    assert before["ca/authority.pem"].splitlines()[1] not in after["ca/authority.pem"], "the old CA's key is gone"
    assert refused(capsys, "rotate", folder, "--ca") == "pki.rotation"
    assert contents(folder) == after


def test_typed_password_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JKS is as strong as its password; a line end would make Java and OpenSSL disagree, too."""
    before = contents(folder)
    for typed in (b"3456abcd", before["password/keystore-password"] + b"\n", b"\xff" * 64):
        (folder / "password/keystore-password").write_bytes(typed)
        assert refused(capsys, "rotate", folder) == "pki.folder"
    assert contents(folder) == before | {"password/keystore-password": typed}
    assert main(["certs", "rotate", str(folder), "--compromised"]) == 0
    check_consistent(folder)


def test_compromise_replaces_everything_but_the_enclave_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    assert refused(capsys, "rotate", folder, "--ca", "--compromised") == "usage.invalid"
    assert main(["certs", "rotate", str(folder), "--compromised"]) == 0
    after = contents(folder)
    same = {name for name in before if before[name] == after[name]}
    assert same == {".gitignore", "enclave/enclave-key.pem", "enclave/enclave-key.yaml"}
    for trust, server in ((before, after), (after, before)):
        with pytest.raises(Exception, match="validation failed"):
            reachable(trust["trust/ca.crt"], server["keys/server.crt"])
    reachable(after["trust/ca.crt"], after["keys/server.crt"])


def test_damaged_ca_is_refused_and_can_be_cut_off(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ca/authority.pem").write_bytes((folder / "ca/authority.pem").read_bytes()[:300])
    for arguments in (["show"], ["rotate"], ["rotate", "--ca"]):
        assert refused(capsys, *arguments, folder) == "pki.authority"
    assert main(["certs", "rotate", str(folder), "--compromised"]) == 0
    check_consistent(folder)


def test_hosts_change_with_a_rotation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "rotate", str(folder), "--host", "New.example"]) == 0
    assert shown(folder, capsys)["hosts"] == ["new.example"]


def test_ppml_files_follow_a_rotation(made: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(made["ppml"], tmp_path / "certs")
    before = contents(tmp_path / "certs")
    assert main(["certs", "rotate", str(tmp_path / "certs"), "--compromised"]) == 0
    after = contents(tmp_path / "certs")
    assert set(before) == set(after)
    assert all(before[name] != after[name] for name in ("keys/server.csr", "password/key.txt", "password/output.bin"))


class Interrupted(BaseException):
    """What no handler may swallow."""


@pytest.mark.parametrize("how", ["--ca", "--compromised"])
def test_rotation_that_is_interrupted_anywhere_is_completed_by_the_next(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a hundred files, and no power cut
    whole, patched = private.replace_private_file, "redoubt.cli.certs_folder.replace_private_file"
    for stop in range(30):
        folder = tmp_path / f"{how}{stop}"
        shutil.copytree(made["plain"], folder)
        before, written = contents(folder), 0

        def dying(path: Path, content: bytes, stop: int = stop) -> None:
            nonlocal written
            if written == stop:
                raise Interrupted
            written += 1
            whole(path, content)

        monkeypatch.setattr(patched, dying)
        try:
            assert main(["certs", "rotate", str(folder), how]) == 0
        except Interrupted:
            middle = contents(folder)
            assert set(middle) == set(before)
            if how == "--ca":
                for trust in (before, middle):
                    for server in (before["keys/server.pem"], middle["keys/server.pem"], middle["keys/server.crt"]):
                        reachable(trust["trust/ca.crt"], server)
        else:
            break
        monkeypatch.setattr(patched, whole)
        # Each error says what to do: a CA that was replaced already is not replaced again.
        assert main(["certs", "rotate", str(folder), *([] if how == "--ca" else [how])]) == 0
        check_consistent(folder)
        facts = shown(folder, capsys)
        assert (facts["ca_state"], facts["server_state"]) == ("good", "good")
    assert stop >= 8, "each file was a place to stop"


def check_consistent(folder: Path) -> None:
    authority = InternalAuthority.from_pem((folder / "ca/authority.pem").read_bytes())
    server = ServerIdentity.from_pem((folder / "keys/server.pem").read_bytes())
    assert (folder / "trust/ca.crt").read_bytes() == authority.bundle()
    assert (folder / "keys/server.pem").read_bytes().endswith((folder / "keys/server.crt").read_bytes())
    assert (folder / "keys/server.pem").read_bytes().startswith((folder / "keys/server.key").read_bytes())
    assert server.chain[0].issuer == authority.certificate.subject
    mounted = entries(folder / "keys/keys.yaml")
    assert mounted["ca.crt"] == authority.bundle()
    assert mounted["keystore.jks"] == (folder / "keys/keystore.jks").read_bytes()
    password = (folder / "password/keystore-password").read_bytes()
    assert entries(folder / "password/password.yaml") == {"keystore-password": password}
    assert entries(folder / "password/spark-secret.yaml")["secret"] == (folder / "password/spark-secret").read_bytes()


def test_rotations_at_the_same_time_take_turns(folder: Path) -> None:
    def rotate() -> int:
        command = [sys.executable, "-m", "redoubt.cli.main", "certs", "rotate", str(folder), "--ca"]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60).returncode

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        statuses = sorted(it.result() for it in [pool.submit(rotate) for _ in range(3)])
    assert statuses == [0, 3, 3], "one replaced the CA, and the others saw that"
    check_consistent(folder)


# --- what is shown ----------------------------------------------------------------------------------------------------
def test_no_secret_is_ever_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for arguments in (
        ("generate", folder.parent / "x", "--ppml"),
        ("show", folder),
        ("rotate", folder, "--compromised"),
    ):
        for form in ([], ["--json"]):
            main(["certs", *map(str, arguments), *form])
    printed = "".join(capsys.readouterr())
    assert "redoubt" in printed
    for place in (folder, folder.parent / "x"):
        found = contents(place)
        words = [found["password/keystore-password"].decode(), found["password/spark-secret"].decode()]
        for name in ("ca/authority.pem", "keys/server.key", "enclave/enclave-key.pem"):
            words += [it for it in found[name].decode().splitlines()[1:] if "-----" not in it][:2]
        assert not [word for word in words if word in printed]


def test_what_is_due_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    past = datetime.now(UTC) - timedelta(days=380)
    authority = InternalAuthority.new("redoubt", now=past - timedelta(days=3000))
    identity = authority.issue(name="redoubt", hosts=["h"], now=past)
    for name, content in (("ca/authority.pem", authority.to_pem()), ("keys/server.pem", identity.to_pem())):
        (folder / name).write_bytes(content)
    facts = shown(folder, capsys)
    assert (facts["ca_state"], facts["server_state"]) == ("renew", "renew")
    assert main(["certs", "rotate", str(folder), "--ca"]) == 0
    facts = shown(folder, capsys)
    assert (facts["ca_state"], facts["server_state"]) == ("good", "good")


def test_enclave_key_that_is_kept_elsewhere_is_no_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "enclave")
    assert shown(folder, capsys)["mrsigner"] is None
    assert main(["certs", "rotate", str(folder)]) == 0


def test_what_is_no_folder_of_certificates_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("show", "rotate"):
        assert refused(capsys, verb, tmp_path / "nowhere") == "usage.not_found"
    assert refused(capsys, "show", tmp_path) == "usage.not_found"
    assert refused(capsys, "rotate", tmp_path) == "pki.folder"
    for inner in ("ca/authority.pem", "keys/server.pem"):
        (tmp_path / inner).parent.mkdir()
        (tmp_path / inner).touch(mode=0o600)
    assert refused(capsys, "show", tmp_path) == "pki.authority"
    assert refused(capsys, "rotate", tmp_path) == "pki.folder"
