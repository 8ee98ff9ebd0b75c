"""The Spark configuration of sealed data, as data: every setting with its group and its reason.

Here stands what every session has; :mod:`redoubt.spark.conf_program` adds what programs started by ``redoubt submit``
have, and :mod:`redoubt.spark.conf_merge` decides about a user's own values. Session, submit and ``redoubt conf`` only
carry it out. No value is secret: configuration is shown in Spark's UI and event log, so it holds names, paths and
switches only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SEALED_CODEC = "io.redoubt.hadoop.SealedCodec"
PARQUET_FACTORY = "io.redoubt.parquet.SealedCryptoFactory"
PARQUET_KMS_CLIENT = "io.redoubt.parquet.RedoubtKmsClient"
COMMIT_PROTOCOL = "io.redoubt.commit.SealedCommitProtocol"
PARQUET_COMMITTER = "io.redoubt.parquet.SealedOutputCommitter"
FILE_SYSTEM = "io.redoubt.fs.SealedFileSystem"
FILE_CONTEXT = "io.redoubt.fs.SealedFs"
RDD_COMMITTER = "io.redoubt.commit.SealedRddCommitter"
COMMITTER_FACTORY = "io.redoubt.commit.SealedCommitterFactory"
STREAM_PROTOCOL = "io.redoubt.commit.StreamCommitProtocol"
#: Name of the Data Source that Python registers; `sealed` is the class in jvm/ that asks for it.
IN_PYTHON = "redoubt_sealed"
SESSION_TIME_ZONE = "spark.sql.session.timeZone"
#: Spark's own regex misses ``fs.azure.account.key.*`` and the like (hardening H21).
REDACTION = r"(?i)secret|password|passphrase|token|credential|access[.]?key|account[.]?key|api[.]?key"


class Group(StrEnum):
    """What a setting is for."""

    KEYS = "keys"
    SEALED = "sealed data"
    WIRE = "wire"
    DISK = "local disk"
    DISCLOSURE = "disclosure"
    PYTHON = "Python workers"
    JVM = "JVM"
    TIMEOUTS = "timeouts"
    SERVICES = "services"
    PLACES = "places"


class Compare(StrEnum):
    """Which values of a user's own are as strong as ours."""

    EXACT = "only this value"
    FREE = "any value: this is a default"
    AT_LEAST = "this number or more"
    SECONDS = "a duration up to the bound, in seconds unless it has a unit"
    MILLISECONDS = "a duration up to the bound, in milliseconds unless it has a unit"
    PATH = "more entries, after ours, joined by colons"
    LIST = "more entries, after ours, joined by commas"
    PATTERN = "one more pattern, beside ours"
    JAVA = "more options that weaken none of these, as extraJavaOptions"


@dataclass(frozen=True, slots=True)
class Setting:
    """One Spark setting and why it is there."""

    key: str
    value: str
    group: Group
    reason: str
    compare: Compare = Compare.EXACT
    #: Of durations: the longest that is accepted, as Spark writes it.
    bound: str = ""


def settings(*, endpoint: Path, jar: Path, sockets: Path) -> tuple[Setting, ...]:
    """Return every setting. *endpoint* and *sockets* are folders private to the job's user; *jar* is Redoubt's own."""
    keys, sealed, wire, disk, disclosure = Group.KEYS, Group.SEALED, Group.WIRE, Group.DISK, Group.DISCLOSURE
    path, codecs = Compare.PATH, Compare.LIST
    return (
        Setting("spark.hadoop.redoubt.endpoint", str(endpoint), keys, "where JVMs find the job's key endpoint"),
        Setting("spark.executorEnv.REDOUBT_ENDPOINT", str(endpoint), keys, "where Python workers find it"),
        Setting(
            "spark.driver.extraClassPath", str(jar), sealed, "Redoubt's classes, in the application class loader", path
        ),
        Setting(
            "spark.executor.extraClassPath", str(jar), sealed, "the same on executors; --jars loads too late", path
        ),
        Setting(
            "spark.hadoop.io.compression.codecs", SEALED_CODEC, sealed, "unmodified readers open *.sealed files", codecs
        ),
        Setting(
            "spark.hadoop.parquet.crypto.factory.class",
            PARQUET_FACTORY,
            sealed,
            "Parquet is sealed by default; without a key a write fails instead of writing plaintext",
        ),
        Setting("spark.hadoop.parquet.encryption.kms.client.class", PARQUET_KMS_CLIENT, sealed, "keys of the endpoint"),
        Setting(
            "spark.sql.sources.commitProtocolClass",
            COMMIT_PROTOCOL,
            sealed,
            "df.write is sealed, and ends with a commit record, so that readers notice what is missing",
        ),
        Setting(
            "spark.sql.parquet.output.committer.class",
            PARQUET_COMMITTER,
            sealed,
            "no plaintext summary files beside sealed parts",
        ),
        Setting("spark.hadoop.fs.file.impl", FILE_SYSTEM, sealed, "a dataset is seen as its commit record lists it"),
        Setting(
            "spark.hadoop.fs.file.impl.disable.cache",
            "true",
            sealed,
            "Hadoop's cache has no configuration in its key: another's file system could be handed to a job",
        ),
        Setting("spark.hadoop.fs.AbstractFileSystem.file.impl", FILE_CONTEXT, sealed, "the same for FileContext"),
        Setting(
            "spark.hadoop.mapred.output.committer.class",
            RDD_COMMITTER,
            sealed,
            "saveAsTextFile and the like are sealed, and end with a commit record",
        ),
        Setting(
            "spark.hadoop.mapreduce.outputcommitter.factory.class",
            COMMITTER_FACTORY,
            sealed,
            "the same for saveAsNewAPIHadoopFile",
        ),
        Setting(
            "spark.sql.streaming.commitProtocolClass",
            STREAM_PROTOCOL,
            sealed,
            "file sinks of streaming queries would write plaintext",
        ),
        Setting("spark.sql.files.ignoreCorruptFiles", "false", sealed, "tampering is an error, never missing rows"),
        Setting("spark.sql.files.ignoreMissingFiles", "false", sealed, "a removed part is an error"),
        Setting("spark.files.ignoreCorruptFiles", "false", sealed, "the same for RDDs (sc.textFile and the like)"),
        Setting("spark.files.ignoreMissingFiles", "false", sealed, "the same for RDDs"),
        Setting(
            "spark.executor.killOnFatalError.depth",
            "0",
            sealed,
            "parquet-java allocates what a module's unauthenticated length says: the task fails, not the executor",
        ),
        Setting("spark.authenticate", "true", wire, "every RPC peer knows the application secret"),
        Setting("spark.network.crypto.enabled", "true", wire, "RPC and shuffle are encrypted"),
        Setting("spark.network.crypto.cipher", "AES/GCM/NoPadding", wire, "the default, CTR, is not authenticated"),
        Setting("spark.network.crypto.authEngineVersion", "2", wire, "version 1 has a weaker derivation"),
        Setting("spark.network.crypto.saslFallback", "false", wire, "no downgrade on an authentication mismatch"),
        Setting("spark.python.unix.domain.socket.enabled", "true", wire, "Python workers would use TCP in clear"),
        Setting("spark.python.unix.domain.socket.dir", str(sockets), wire, "their sockets lie in a private folder"),
        Setting("spark.io.encryption.enabled", "true", disk, "spills and shuffle files are encrypted"),
        Setting("spark.io.encryption.keySizeBits", "256", disk, "the default is 128", Compare.AT_LEAST),
        Setting("spark.io.encryption.keygen.algorithm", "HmacSHA256", disk, "the default is HmacSHA1"),
        Setting(
            "spark.python.worker.memory",
            "1000000t",
            disk,
            "Python workers that use more spill RDDs to disk as pickles that nothing encrypts",
        ),
        Setting(
            "spark.python.daemon.module",
            "redoubt.spark.daemon",
            disclosure,
            "Python workers run user code: the application secret is not in their environment",
        ),
        Setting(
            "spark.ui.enabled", "false", disclosure, "plans and errors show literals and cell values", Compare.FREE
        ),
        Setting("spark.eventLog.enabled", "false", disclosure, "the event log holds the same, on disk"),
        Setting(
            "spark.redaction.regex",
            REDACTION,
            disclosure,
            "store credentials are redacted in what is shown",
            Compare.PATTERN,
        ),
    )
