"""What must hold in a started JVM before it may see sealed data (hardening H15: missing parts fail open).

A configuration is a wish. Without Redoubt's jar a sealed csv is read as rows of ciphertext, and without its Parquet
factory a table is written in plaintext, both without an error. So a session asks the JVM itself: are the classes there,
from the application class loader and this installation's jar; which codec opens ``*.sealed``; which factories would
Parquet call; is the Data Source known.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redoubt.errors import JarMissing, SparkError
from redoubt.spark.conf import (
    COMMIT_PROTOCOL,
    COMMITTER_FACTORY,
    FILE_CONTEXT,
    FILE_SYSTEM,
    IN_PYTHON,
    PARQUET_COMMITTER,
    PARQUET_FACTORY,
    PARQUET_KMS_CLIENT,
    RDD_COMMITTER,
    SEALED_CODEC,
    STREAM_PROTOCOL,
)
from redoubt.spark.jar import jar_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Hadoop configuration key → the class that Redoubt's session sets there.
_CLASSES: Final = {
    "io.compression.codecs": SEALED_CODEC,
    "parquet.crypto.factory.class": PARQUET_FACTORY,
    "parquet.encryption.kms.client.class": PARQUET_KMS_CLIENT,
    "spark.sql.parquet.output.committer.class": PARQUET_COMMITTER,
    "spark.sql.sources.commitProtocolClass": COMMIT_PROTOCOL,
    "spark.sql.streaming.commitProtocolClass": STREAM_PROTOCOL,
    "fs.file.impl": FILE_SYSTEM,
    "fs.AbstractFileSystem.file.impl": FILE_CONTEXT,
    "mapred.output.committer.class": RDD_COMMITTER,
    "mapreduce.outputcommitter.factory.class": COMMITTER_FACTORY,
}
_HINT: Final = "Take the whole configuration of redoubt.spark.job().conf() when the session is built."


def assert_loaded(spark: SparkSession) -> None:
    """Check that *spark* reads and writes sealed data, and would not silently do without.

    Raises:
        JarMissing: its JVM lacks a class, or has another installation's.
        SparkError: a class is there and is not what this session uses.
    """
    jvm: Any = spark._jvm
    session: Any = spark._jsparkSession
    hadoop = session.sessionState().newHadoopConf()  # as a query of this session would see it
    for name in _CLASSES.values():
        _check_class(jvm, name)
    for key, name in _CLASSES.items():
        if name not in str(hadoop.get(key, "")).split(","):
            raise SparkError(f"{key} is {hadoop.get(key)!r}, not {name}", hint=_HINT)
    _check_file_system(jvm, hadoop)
    _check_codec(jvm, hadoop)
    _check_factories(jvm, hadoop)
    if not session.sessionState().dataSourceManager().dataSourceExists(IN_PYTHON):
        raise SparkError("the Data Source `sealed` is not known", hint="Call redoubt.spark.register(spark).")


def _check_class(jvm: Any, name: str) -> None:
    """Check that the application class loader has *name*, and from the jar of this installation."""
    from py4j.protocol import Py4JJavaError

    try:
        found = jvm.java.lang.ClassLoader.getSystemClassLoader().loadClass(name)
    except Py4JJavaError:
        raise JarMissing(f"the JVM has no class {name}", hint=_HINT) from None
    source = Path(found.getProtectionDomain().getCodeSource().getLocation().getPath())
    if source.resolve() != jar_path().resolve():
        raise JarMissing(f"{name} comes from {source}, not from {jar_path()}", hint="Remove the other jar.")


def _check_file_system(jvm: Any, hadoop: Any) -> None:
    """Ask Hadoop's own look-up, which prefers an instance that it has kept to what is configured."""
    found = jvm.org.apache.hadoop.fs.Path("/").getFileSystem(hadoop).getClass().getName()
    if found != FILE_SYSTEM:
        raise SparkError(f"local files would be read and written through {found}", hint=_HINT)


def _check_codec(jvm: Any, hadoop: Any) -> None:
    codecs = jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(hadoop)
    codec = codecs.getCodec(jvm.org.apache.hadoop.fs.Path("part.csv.sealed"))
    if codec is None or codec.getClass().getName() != SEALED_CODEC:
        raise SparkError("files named *.sealed would be read without decryption", hint=_HINT)


def _check_factories(jvm: Any, hadoop: Any) -> None:
    """Ask Parquet's own look-up, which falls back to plaintext where it finds nothing."""
    crypto = jvm.org.apache.parquet.crypto
    for kind in (crypto.EncryptionPropertiesFactory, crypto.DecryptionPropertiesFactory):
        factory = kind.loadFactory(hadoop)
        if factory is None or factory.getClass().getName() != PARQUET_FACTORY:
            raise SparkError("Parquet would be read and written in plaintext", hint=_HINT)
