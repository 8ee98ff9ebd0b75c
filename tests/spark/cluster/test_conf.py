"""The configuration of a cluster's driver: TLS instead of a secret, and nothing secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from redoubt.errors import OptionRefused, RoleMissing
from redoubt.spark.cluster.conf import PROTOCOL, settings_for
from redoubt.spark.cluster.credentials import credentials
from redoubt.spark.cluster.files import MemberFiles, member_files

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


@pytest.mark.parametrize(
    "weaker",
    [
        {"spark.ssl.rpc.enabled": "false"},
        {"spark.ssl.rpc.protocol": "TLSv1.3"},
        {"spark.authenticate": "false"},
        {"spark.network.crypto.enabled": "true"},
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
