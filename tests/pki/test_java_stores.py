"""Java takes the stores of ``redoubt certs``: it reads them, and speaks TLS with them, across a rotation too.

One JVM answers all questions of the module (``Stores.java``): real sockets, PKIX trust, names of hosts checked.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from redoubt.cli.main import main

SOURCE = Path(__file__).with_name("Stores.java")
CASES = {
    "jks is read": "list {old}/keys/keystore.jks JKS {old}/password/keystore-password",
    "pkcs12 is read": "list {old}/keys/keystore.pkcs12 PKCS12 {old}/password/keystore-password",
    "jks of an overlap": "list {new}/keys/keystore.jks JKS {old}/password/keystore-password",
    "pkcs12 of an overlap": "list {new}/keys/keystore.pkcs12 PKCS12 {old}/password/keystore-password",
    "wrong password of jks": "list {old}/keys/keystore.jks JKS {other}/password/keystore-password",
    "wrong password of pkcs12": "list {old}/keys/keystore.pkcs12 PKCS12 {other}/password/keystore-password",
    "changed jks": "list {changed} JKS {old}/password/keystore-password",
    "trust store": "list {new}/trust/truststore.pkcs12 PKCS12 -",
    "tls, jks": "tls {old jks} {old trust} localhost",
    "tls, pkcs12": "tls {old pkcs12} {old trust} spark.example",
    "tls, jks as its own trust store": "tls {old jks} {old jks} localhost",
    "tls, foreign CA": "tls {old jks} {other trust} localhost",
    "tls, another host": "tls {old jks} {old trust} other.example",
    "old server, new trust, jks": "tls {old jks} {new trust} localhost",
    "old server, new trust, pkcs12": "tls {old pkcs12} {new trust} localhost",
    "new server, old trust, jks": "tls {new jks} {old trust} localhost",
    "new server, old trust, pkcs12": "tls {new pkcs12} {old trust} localhost",
    "new server, old key store as trust store": "tls {new jks} {old jks} localhost",
    "new server, new trust": "tls {new jks} {new trust} localhost",
    "cut off: new server, old trust": "tls {cut jks} {new trust} localhost",
    "cut off: old server, new trust": "tls {new jks} {cut trust} localhost",
    "cut off: new server, new trust": "tls {cut jks} {cut trust} localhost",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What Java said to each case."""
    home = tmp_path_factory.mktemp("stores")
    folders = {name: home / name for name in ("old", "new", "cut", "other")}
    hosts = ("--host", "localhost", "--host", "spark.example")
    for name in ("old", "other"):
        assert main(["certs", "generate", str(folders[name]), *hosts]) == 0
    for name, before, how in (("new", "old", "--ca"), ("cut", "new", "--compromised")):
        shutil.copytree(folders[before], folders[name])
        assert main(["certs", "rotate", str(folders[name]), how]) == 0
    changed = bytearray((folders["old"] / "keys/keystore.jks").read_bytes())
    changed[-200] ^= 1  # in a certificate: only the digest of the whole knows
    (home / "changed.jks").write_bytes(changed)
    places: dict[str, object] = {**folders, "changed": home / "changed.jks"}
    for name, folder in folders.items():
        places[f"{name} jks"] = f"{folder}/keys/keystore.jks JKS {folder}/password/keystore-password"
        places[f"{name} pkcs12"] = f"{folder}/keys/keystore.pkcs12 PKCS12 {folder}/password/keystore-password"
        places[f"{name} trust"] = f"{folder}/trust/truststore.pkcs12 PKCS12 -"
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", str(SOURCE)],
        input="".join(f"{line.format(**places)}\n" for line in CASES.values()),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return dict(zip(CASES, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize(
    "case", [it for it in CASES if "list" in CASES[it] and "wrong" not in it and it != "changed jks"]
)
def test_java_reads_the_store(answers: dict[str, str], case: str) -> None:
    expected = {
        "jks is read": {"server=EC+1", "ca-0=CA"},
        "pkcs12 is read": {"server=EC+1"},
        "jks of an overlap": {"server=EC+2", "ca-0=CA", "ca-1=CA"},
        "pkcs12 of an overlap": {"server=EC+2"},
        "trust store": {"ca-0=CA", "ca-1=CA"},
    }
    assert set(answers[case].split()) == expected[case]


@pytest.mark.parametrize("case", ["wrong password of jks", "wrong password of pkcs12", "changed jks"])
def test_java_refuses_a_store_that_its_password_does_not_open(answers: dict[str, str], case: str) -> None:
    assert answers[case] == "refused IOException"


@pytest.mark.parametrize("case", [it for it in CASES if it.startswith(("tls, jks", "tls, pkcs12", "new", "old"))])
def test_java_reaches_a_java_server(answers: dict[str, str], case: str) -> None:
    assert answers[case] == "reached TLSv1.3"


@pytest.mark.parametrize("case", ["tls, foreign CA", "tls, another host"])
def test_java_refuses_a_foreign_server(answers: dict[str, str], case: str) -> None:
    assert answers[case] == "refused SSLHandshakeException"


def test_rotation_after_a_compromise_trusts_nothing_old(answers: dict[str, str]) -> None:
    assert answers["cut off: new server, old trust"] == "refused SSLHandshakeException"
    assert answers["cut off: old server, new trust"] == "refused SSLHandshakeException"
    assert answers["cut off: new server, new trust"] == "reached TLSv1.3"
