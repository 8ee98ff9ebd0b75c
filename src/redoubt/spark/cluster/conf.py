"""The configuration of a cluster's processes: its wire group is mutual TLS, not encryption by a shared secret.

RPC, shuffle, broadcast, block and file transfer are TLS 1.3 with certificates at both ends (``io.redoubt.cluster``);
``spark.network.crypto`` cannot be on at the same time. The secret is asked for besides, and is in no setting: what
stands in its place only satisfies Spark's check that there is one.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from redoubt.errors import OptionRefused, UsageError
from redoubt.pki.hosts import parse_hosts
from redoubt.spark.cluster.files import MemberFiles, member_files
from redoubt.spark.conf import Group, Setting, settings
from redoubt.spark.conf_merge import merge
from redoubt.spark.jar import jar_path

PROTOCOL: Final = "RedoubtMutualTLS"
_ELSEWHERE: Final = "in-the-credentials-file"
_MASTER: Final = re.compile(r"spark://([A-Za-z0-9.-]{1,255}):([0-9]{1,5})")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1"})
#: Of one process: an executor has its own endpoint, folders, class path and JVM options, and takes none of a driver's.
_EXECUTORS: Final = frozenset(
    {
        "spark.hadoop.redoubt.endpoint",
        "spark.python.unix.domain.socket.dir",
        "spark.executor.extraClassPath",
        "spark.executor.defaultJavaOptions",
    }
)
_EXECUTOR_ENVIRONMENT: Final = "spark.executorEnv."
_REPLACED: Final = "spark.network.crypto."


def address_of(master: str) -> tuple[str, int]:
    """Return host and port of a ``spark://`` master, every name of this machine's loopback being the same.

    Raises:
        UsageError: it is none.
    """
    found = _MASTER.fullmatch(master)
    if found is None:
        raise UsageError(f"{master[:64]!r} is not spark://HOST:PORT")
    return ("127.0.0.1" if found[1] in _LOOPBACK else found[1]), int(found[2])


def member_host(text: str) -> str:
    """Return a name or address at which members of a cluster are reached; raises UsageError if Spark takes no such."""
    (host,) = parse_hosts([text])
    address_of(f"spark://{host}:0")
    return host


def is_loopback(master: str) -> bool:
    """Return whether *master* is reached on this machine only."""
    if not master.startswith("spark://"):
        return False
    host, _ = address_of(master)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: address_of knows that of loopback
        return False


def member_settings(files: MemberFiles) -> tuple[Setting, ...]:
    """Return what every process of the cluster is set to."""
    wire, disclosure = Group.WIRE, Group.DISCLOSURE
    return (
        Setting("spark.ssl.rpc.enabled", "true", wire, "RPC, shuffle and file transfer are TLS 1.3"),
        Setting("spark.ssl.rpc.protocol", PROTOCOL, wire, "Spark's own asks no client for a certificate"),
        Setting("spark.ssl.rpc.keyStore", str(files.trust), wire, "Spark wants one to be named; the key is in memory"),
        Setting("spark.network.crypto.enabled", "false", wire, "TLS takes its place"),
        Setting("spark.authenticate", "true", wire, "every RPC peer knows the secret of the trust domain too"),
        Setting("spark.authenticate.secret", _ELSEWHERE, wire, "not the secret: Spark checks that there is a value"),
        Setting("spark.ui.killEnabled", "false", disclosure, "a web page ends no job"),
        Setting("spark.ui.threadDumpsEnabled", "false", disclosure, "stacks name what programs do"),
        Setting("spark.ui.enabled", "false", disclosure, "plans and errors show literals and cell values"),
        Setting("spark.master.rest.enabled", "false", wire, "jobs are submitted by attested drivers alone"),
        Setting("spark.shuffle.service.enabled", "false", wire, "executors serve their own blocks"),
    )


def jvm_options(files: MemberFiles) -> tuple[str, ...]:
    """Return what every JVM of the cluster is started with besides."""
    return (f"-Djava.security.properties={files.security}", f"-Dhadoop.token.files={files.credentials}")


def driver_conf(master: str, user: Mapping[str, str] | None = None, *, folder: Path | None = None) -> dict[str, str]:
    """Return the configuration of a driver of this cluster, on top of the *user*'s own.

    The program runs under an agent that was given the role ``DOMAIN/driver``; *folder* is where that put the identity,
    by default where this process was told. Nothing secret is in the result: it names files.

    Raises:
        RoleMissing: this program has no role in a trust domain.
        OptionRefused: *user* weakens a setting, or sets JVM options of the driver.
        JarMissing: the package lacks its jar.
    """
    return settings_for(member_files(Path(os.environ["JAVA_HOME"]), folder=folder), master, user or {})


def settings_for(files: MemberFiles, master: str, user: Mapping[str, str]) -> dict[str, str]:
    """Return the configuration of a driver that finds *files*, which need not be there yet; raises as driver_conf.

    With ``{redoubt:secrets}`` as their folder it can be measured before the program is started.
    """
    nowhere = Path("/")
    given = dict(user)
    options = "spark.driver.extraJavaOptions"
    if options in given:
        raise OptionRefused(f"{options} is the agent's to set on a cluster", hint="Use `agent exec --jvm-option`.")
    merged = merge(driver_settings(settings(endpoint=nowhere, jar=jar_path(), sockets=nowhere), files), given)
    return {**merged, "spark.master": master, options: " ".join(jvm_options(files))}


def driver_settings(base: Iterable[Setting], files: MemberFiles) -> tuple[Setting, ...]:
    """Return what a driver of a cluster is set to: *base* with another wire, without what is each executor's own."""
    own = member_settings(files)
    replaced = {it.key for it in own} | _EXECUTORS
    kept = [it for it in base if it.key not in replaced and not it.key.startswith((_REPLACED, _EXECUTOR_ENVIRONMENT))]
    return (*kept, *own)
