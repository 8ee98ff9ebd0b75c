"""Each ``spark-submit`` line of the seeds for ``local`` and ``spark://`` is accepted as written, but for its paths."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.compat.test_conf import SEEDS
from typer.main import get_command

from redoubt.cli.submit import app, read_submission
from redoubt.spark.submission import Submission

#: What the seeds say to put in the place of `--master 'local[4]'` for a standalone cluster.
STANDALONE = (
    "--master spark://localhost:7077 --conf spark.authenticate=true --conf spark.authenticate.secret=hunter2-0451"
)
#: The seeds' "safety parameters" of standalone mode, as they are written there.
SAFETY = """
--conf spark.authenticate=true --conf spark.authenticate.secret=hunter2-0451
--conf spark.kubernetes.executor.secretKeyRef.SPARK_AUTHENTICATE_SECRET="spark-secret:secret"
--conf spark.kubernetes.driver.secretKeyRef.SPARK_AUTHENTICATE_SECRET="spark-secret:secret"
--conf spark.network.crypto.enabled=true --conf spark.network.crypto.keyLength=128
--conf spark.network.crypto.keyFactoryAlgorithm=PBKDF2WithHmacSHA1
--conf spark.authenticate.enableSaslEncryption=true
--conf spark.io.encryption.enabled=true --conf spark.io.encryption.keySizeBits=128
--conf spark.io.encryption.keygen.algorithm=HmacSHA1
--conf spark.ssl.enabled=true --conf spark.ssl.port=8043 --conf spark.ssl.keyPassword=hunter2-0451
--conf spark.ssl.keyStore=/keys/keystore.jks --conf spark.ssl.keyStorePassword=hunter2-0451
--conf spark.ssl.keyStoreType=JKS --conf spark.ssl.trustStore=/keys/keystore.jks
--conf spark.ssl.trustStorePassword=hunter2-0451 --conf spark.ssl.trustStoreType=JKS
--conf spark.kubernetes.sgx.enabled=true --conf spark.kubernetes.sgx.mem=32g --conf spark.kubernetes.sgx.jvm.mem=16g
"""


def lines() -> list[str]:
    """Return what follows ``SparkSubmit`` in each local line of the seeds."""
    found = []
    for seed in sorted(SEEDS.glob("*.txt")):
        text = seed.read_text().replace("\\\n", " ")
        for rest in re.findall(r'org\.apache\.spark\.deploy\.SparkSubmit\s+([^"]*)"', text):
            if "--master 'local" in rest:
                found.append(rest)
    return found


def submitted(line: str, folder: Path) -> Submission:
    """Read *line* as ``redoubt submit`` does, with each path in it put below *folder*."""
    words = []
    for word in shlex.split(line):
        name, equals, value = word.rpartition("=") if word.startswith("spark.") else ("", "", word)
        words.append(
            name + equals + re.sub(r"(?<![\w:/])(?:local://)?/(?!/)[^,:]*", lambda it: str(place(it[0], folder)), value)
        )
    command = get_command(app)
    given = dict(command.make_context("submit", words).params)
    application, arguments, allow = given.pop("application"), given.pop("arguments"), given.pop("allow")
    return read_submission(application, list(arguments or ()), given, allow=allow)


def place(path: str, folder: Path) -> Path:
    found = folder / path.rpartition("/")[2]
    found.touch()
    return found


def test_every_local_line_is_found() -> None:
    if not SEEDS.is_dir():
        pytest.skip("the seeds are not in this checkout: REDOUBT_SHARED names where they are")
    assert len(lines()) == 8


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("kind", ["local", "standalone", "safety"])
def test_each_line_is_accepted_and_weakens_nothing(
    number: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not SEEDS.is_dir():
        pytest.skip("the seeds are not in this checkout: REDOUBT_SHARED names where they are")
    monkeypatch.delenv("SPARK_CONF_DIR", raising=False)
    line = lines()[number]
    if kind != "local":
        line = line.replace("--master 'local[4]'", STANDALONE)
    if kind == "safety":
        line = SAFETY.replace("\n", " ") + line
    made = submitted(line, tmp_path)
    assert made.master == ("local[4]" if kind == "local" else "spark://localhost:7077")
    assert made.conf["spark.authenticate"] == "true"
    assert made.conf["spark.io.encryption.keySizeBits"] == "256"
    assert made.conf["spark.python.use.daemon"] == "true"
    assert "hunter2" not in str(made.conf) + str(made.notices)
    assert not [key for key in made.conf if key.startswith(("spark.kubernetes.", "spark.ssl.key"))]
