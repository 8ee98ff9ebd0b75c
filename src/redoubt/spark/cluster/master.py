"""The attested program of a master: ``python -m redoubt.spark.cluster.master OPTIONS``."""

from __future__ import annotations

import sys

from redoubt.keys.private import replace_private_file
from redoubt.spark.cluster.files import member_files
from redoubt.spark.cluster.launch import become_java, java_home, properties
from redoubt.spark.cluster.options import MasterOptions, decode


def main(arguments: list[str]) -> None:
    """Become Spark's master."""
    options = decode(MasterOptions, arguments)
    files = member_files(java_home())
    settings = files.folder / "master.properties"
    replace_private_file(settings, properties(files, {}).encode())
    become_java(
        "org.apache.spark.deploy.master.Master",
        ["--host", options.host, "--port", str(options.port), "--webui-port", "0", "--properties-file", str(settings)],
        files=files,
        memory="512m",
        options=["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],  # it moves messages, not data
        environment={"SPARK_LOCAL_IP": "127.0.0.1"},  # where its web page is; it has its own host besides
    )


if __name__ == "__main__":
    main(sys.argv[1:])
