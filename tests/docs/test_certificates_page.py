"""The walkthrough of docs/certificates.md, command by command, and Spark's UI with the settings that the page gives."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "certificates.md"
SOURCE = Path(__file__).parents[2] / "src"
BLOCK = re.compile(r"<!-- walkthrough(?:: (\w+))? -->\n```bash\n(.*?)```", re.DOTALL)
UI = """
import json, ssl, subprocess, urllib.error, urllib.request
from pathlib import Path
from pyspark import SparkConf, SparkContext

page = dict(line.split() for line in Path("conf/spark-defaults.conf").read_text().splitlines())
recover = "openssl rsautl -inkey ppml/password/key.txt -decrypt <ppml/password/output.bin"
password = subprocess.run(["bash", "-c", recover], capture_output=True, check=True).stdout.decode()
store = f"{Path.cwd()}/ppml/keys/keystore.jks"
ppml = {  # as the submit lines of BigDL PPML have it
    "spark.ssl.enabled": "true", "spark.ssl.port": "8043", "spark.ssl.keyPassword": password,
    "spark.ssl.keyStore": store, "spark.ssl.keyStorePassword": password, "spark.ssl.keyStoreType": "JKS",
    "spark.ssl.trustStore": store, "spark.ssl.trustStorePassword": password, "spark.ssl.trustStoreType": "JKS",
}
SparkContext._ensure_initialized()  # the JVM first, and then the settings: not in its arguments
answers = {}
for name, settings in (("page", page), ("ppml", ppml)):
    conf = SparkConf().setMaster("local[1]").setAppName("ui").set("spark.ui.port", "0")
    context = SparkContext(conf=conf.setAll(settings.items()))
    url = context.uiWebUrl
    answers[name] = [url.partition(":")[0]]
    for bundle in ("certs/trust/ca.crt", "old.crt", "ppml/trust/ca.crt"):
        try:
            with urllib.request.urlopen(f"{url}/jobs/", context=ssl.create_default_context(cafile=bundle)) as page_:
                answers[name].append("Spark Jobs" in page_.read().decode())
        except urllib.error.URLError as error:
            answers[name].append(type(error.reason).__name__)
    context.stop()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole walkthrough was run; its output is in ``output``, the first CA in ``old.crt``."""
    home = tmp_path_factory.mktemp("walkthrough")
    blocks = [text for _, text in BLOCK.findall(PAGE.read_text())]
    assert len(blocks) == 5
    blocks.insert(1, "cp certs/trust/ca.crt old.crt\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (home / "output").write_text(done.stdout)
    return home


def test_the_walkthrough_works_as_written(folder: Path) -> None:
    printed = (folder / "output").read_text()
    assert "certs/keys/server.crt: OK" in printed
    assert "PrivateKeyEntry" in printed
    assert "trustedCertEntry" in printed
    assert "\n1\n" in printed, "the trust store's one CA"
    facts = json.loads(printed.splitlines()[-2])
    assert facts["overlap_ends"]
    assert (folder / "conf/spark-defaults.conf").stat().st_mode & 0o777 == 0o600


@pytest.mark.spark
def test_sparks_ui_speaks_tls_with_both_stores(folder: Path) -> None:
    """With the page's settings (PKCS #12) for clients of the new CA and of the old one; with those of PPML (JKS)."""
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", UI],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    foreign = "SSLCertVerificationError"
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "page": ["https", True, True, foreign],
        "ppml": ["https", foreign, foreign, True],
    }


def test_every_file_that_the_page_names_is_made(folder: Path) -> None:
    text = PAGE.read_text()
    named = set(re.findall(r"`(?:\w+/)?([a-z-]+\.(?:pem|key|crt|csr|jks|pkcs12|yaml|txt|bin))`", text))
    assert len(named) >= 14
    made = {it.name for it in (folder / "ppml").rglob("*")}
    assert named <= made
