"""What the wire of a standalone cluster costs: nothing, ``spark.network.crypto``, TLS with certificates at both ends.

Three clusters of two workers with one core each stand at once, without agents, since only the wire is compared. In each
round every variant runs one application: a join of two shuffled tables and a repartition, once to warm up, then timed.
The order of the variants changes from round to round; medians of all timed runs are printed.

    python -m benchmarks.cluster_wire --rounds 3 --rows 4000000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.plain_cluster import HOST, PlainCluster, java_home
from redoubt.agent.membership import Member
from redoubt.pki.authority import domain_authority, domain_secret, trust_bundle
from redoubt.pki.spiffe import SpiffeId
from redoubt.protocol.membership import Membership
from redoubt.spark.cluster.conf import jvm_options, member_settings
from redoubt.spark.cluster.files import MemberFiles, member_files
from redoubt.spark.jar import jar_path

VARIANTS = ("none", "crypto", "tls")
APPLICATION = """
import json, sys, time
from pyspark.sql import SparkSession
conf, rows, runs = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spark = SparkSession.builder.config(map=conf).getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
left = spark.range(rows).selectExpr("id", "id * 7 % 1000003 k", "sha2(string(id), 256) text")
right = spark.range(rows // 4).selectExpr("id * 7 % 1000003 k", "sha2(string(id + 1), 256) other")
def join():
    left.join(right.hint("shuffle_merge"), "k").write.format("noop").mode("overwrite").save()
def repartition():
    left.repartition(8, "k").write.format("noop").mode("overwrite").save()
found = {}
for name, work in (("join", join), ("repartition", repartition)):
    work()
    for _ in range(runs):
        began = time.perf_counter()
        work()
        found.setdefault(name, []).append(time.perf_counter() - began)
print(json.dumps(found))
spark.stop()
"""


def identity(folder: Path) -> MemberFiles:
    """Make one identity, which all processes of this comparison share."""
    seed, now = os.urandom(32), datetime.now(UTC)
    name = SpiffeId(domain="bench", role="worker", id="0" * 32)
    key = ec.generate_private_key(ec.SECP384R1())
    certificate = domain_authority(seed, domain="bench", now=now).issue(name, key.public_key(), now=now)
    membership = Membership(
        name=name,
        certificate=certificate.public_bytes(Encoding.PEM),
        bundle=trust_bundle(seed, domain="bench", now=now),
        secret=domain_secret(seed, domain="bench"),
    )
    Member(membership=membership, key=key, at=now).write(folder)
    return member_files(Path(java_home()), folder=folder)


def settings(variant: str, files: MemberFiles) -> tuple[dict[str, str], list[str]]:
    """Return settings and JVM options of a variant."""
    if variant == "none":
        return {"spark.ui.enabled": "false"}, []
    if variant == "crypto":
        return {
            "spark.ui.enabled": "false",
            "spark.authenticate": "true",
            "spark.authenticate.secret": "of-a-benchmark",
            "spark.network.crypto.enabled": "true",
            "spark.network.crypto.cipher": "AES/GCM/NoPadding",
            "spark.network.crypto.authEngineVersion": "2",
            "spark.network.crypto.saslFallback": "false",
        }, []
    return {it.key: it.value for it in member_settings(files)}, list(jvm_options(files))


def cluster(variant: str, files: MemberFiles, scratch: Path) -> PlainCluster:
    """Return a variant's cluster, not started."""
    conf, options = settings(variant, files)
    return PlainCluster(folder=scratch / variant, conf=conf, options=options)


def application(variant: str, master: str, files: MemberFiles, *, rows: int, runs: int) -> dict[str, list[float]]:
    """Run one application and return its times."""
    conf, options = settings(variant, files)
    conf |= {
        "spark.master": master,
        "spark.driver.host": HOST,
        "spark.driver.bindAddress": HOST,
        "spark.executor.memory": "900m",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.extraClassPath": str(jar_path()),
        "spark.executor.extraClassPath": str(jar_path()),
    }
    if options:
        conf |= {f"spark.{it}.extraJavaOptions": " ".join(options) for it in ("driver", "executor")}
    words = [sys.executable, "-c", APPLICATION, json.dumps(conf), str(rows), str(runs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--rows", type=int, default=4_000_000)
    given = parser.parse_args()
    times: dict[str, dict[str, list[float]]] = {it: {} for it in VARIANTS}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "identity").mkdir(mode=0o700)
        files = identity(scratch / "identity")
        with ExitStack() as stack:
            masters = {it: stack.enter_context(cluster(it, files, scratch).running()) for it in VARIANTS}
            for number in range(given.rounds):
                for variant in VARIANTS[number % 3 :] + VARIANTS[: number % 3]:
                    found = application(variant, masters[variant], files, rows=given.rows, runs=given.runs)
                    for work, values in found.items():
                        times[variant].setdefault(work, []).extend(values)
                    shown = {work: [round(it, 2) for it in values] for work, values in found.items()}
                    print(variant, shown, flush=True)
    for variant, works in times.items():
        print(variant, {work: round(statistics.median(values), 2) for work, values in works.items()})


if __name__ == "__main__":
    main()
