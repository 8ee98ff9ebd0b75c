"""Where Redoubt's own jar is: the Java classes that Spark loads by name (codec, Parquet factories)."""

from __future__ import annotations

from pathlib import Path

from redoubt.errors import JarMissing

_JAR = Path(__file__).parent / "jars" / "redoubt-jvm.jar"


def jar_path() -> Path:
    """Return the path of the jar.

    Raises:
        JarMissing: the package was installed from source and ``jvm/build.py`` was not run.
    """
    if not _JAR.is_file():
        raise JarMissing(f"{_JAR} does not exist")
    return _JAR
