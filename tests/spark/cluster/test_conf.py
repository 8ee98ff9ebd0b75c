"""The configuration of a cluster's driver: TLS instead of a secret, and nothing secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from redoubt.errors import OptionRefused, RoleMissing, UsageError
from redoubt.spark.cluster.conf import PROTOCOL, address_of, is_loopback, settings_for
from redoubt.spark.cluster.credentials import credentials
from redoubt.spark.cluster.files import MemberFiles, member_files
from redoubt.spark.submission import configuration

FILES = MemberFiles(folder=Path("{redoubt:secrets}"), domain="analytics", role="driver")
MASTER = "spark://127.0.0.1:7077"


def test_wire_is_mutual_tls_and_folders_may_be_placeholders() -> None:
    found = settings_for(FILES, MASTER, {"spark.executor.memory": "1g"})
    assert found["spark.ssl.rpc.protocol"] == PROTOCOL
    assert found["spark.ssl.rpc.enabled"] == found["spark.authenticate"] == "true"
    assert found["spark.network.crypto.enabled"] == "false"
    assert found["spark.driver.extraJavaOptions"] == (
        "-Djava.security.properties={redoubt:secrets}/java.security -Dhadoop.token.files={redoubt:secrets}/credentials"
    )
    assert found["spark.io.encryption.enabled"] == "true"
    assert (found["spark.master"], found["spark.executor.memory"]) == (MASTER, "1g")
    # Executors find their own endpoint and sockets: the driver's would be another process's.
    assert not {"spark.hadoop.redoubt.endpoint", "spark.executorEnv.REDOUBT_ENDPOINT"} & set(found)


def test_submitted_driver_has_the_clusters_wire_in_its_measured_settings() -> None:
    made = configuration({"spark.master": MASTER, "spark.executor.memory": "1g"})
    found = made.conf
    assert (found["spark.ssl.rpc.enabled"], found["spark.network.crypto.enabled"]) == ("true", "false")
    assert found["spark.ssl.rpc.keyStore"] == "{redoubt:secrets}/trust.p12"
    assert "-Djava.security.properties={redoubt:secrets}/java.security" in found["spark.driver.defaultJavaOptions"]
    assert "-XX:+DisableAttachMechanism" in found["spark.driver.defaultJavaOptions"]
    assert found["spark.driver.host"] == "127.0.0.1"
    guarded = set(found["spark.redoubt.guarded"].split(","))
    assert {"spark.ssl.rpc.enabled", "spark.ssl.rpc.protocol", "spark.authenticate", "spark.plugins"} & guarded == {
        "spark.ssl.rpc.enabled", "spark.ssl.rpc.protocol", "spark.authenticate"
    }  # fmt: skip
    # Executors have their own, of their own image: none of the driver's folders means anything to them.
    assert not [
        it for it in found if it.startswith(("spark.executorEnv.", "spark.executor.extra", "spark.executor.def"))
    ]


def test_driver_of_a_cluster_elsewhere_is_reached_by_others() -> None:
    found = configuration({"spark.master": "spark://master.example:7077"}).conf
    assert "spark.driver.host" not in found


@pytest.mark.parametrize(
    "given",
    [
        {"spark.executor.extraClassPath": "/tmp/evil.jar"},
        {"spark.ssl.rpc.protocol": "TLSv1.3"},
        {"spark.ui.enabled": "true"},
        {"spark.shuffle.service.enabled": "true"},
    ],
)
def test_submitted_setting_that_weakens_a_cluster_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(OptionRefused):
        configuration({"spark.master": MASTER, **given})


@pytest.mark.parametrize(
    "master", ["spark://", "spark://h", "spark://h:7077,g:7077", "spark://h:port", "spark://u@h:1"]
)
def test_master_that_is_no_address_is_refused(master: str) -> None:
    with pytest.raises(UsageError):
        configuration({"spark.master": master})


def test_loopback_has_one_address() -> None:
    assert address_of("spark://localhost:7077") == address_of(MASTER)
    assert is_loopback(MASTER)
    assert not is_loopback("local[2]")
    assert not is_loopback("spark://10.0.0.1:7077")


@pytest.mark.parametrize(
    "weaker",
    [
        {"spark.ssl.rpc.enabled": "false"},
        {"spark.ssl.rpc.protocol": "TLSv1.3"},
        {"spark.authenticate": "false"},
        {"spark.io.encryption.enabled": "false"},
        {"spark.shuffle.service.enabled": "true"},
        {"spark.driver.extraJavaOptions": "-Djava.security.properties=/tmp/evil"},
    ],
)
def test_setting_that_weakens_the_wire_is_refused(weaker: dict[str, str]) -> None:
    with pytest.raises(OptionRefused):
        settings_for(FILES, MASTER, weaker)


def test_program_without_a_role_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(RoleMissing):
        member_files(Path("/nonexistent"), folder=tmp_path)


def test_credentials_are_hadoops_format() -> None:
    assert credentials(b"ab" * 32) == b"HDTS\x00" + b"\x00" + b"\x01" + b"\x0bsparkCookie" + b"\x40" + b"ab" * 32
