"""What a Spark driver knows of its own secrets: told after the capture, so that they can be looked for in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def tell_secrets(spark: SparkSession, place: Path) -> None:
    manager = security_manager(spark)
    encryption = manager.getIOEncryptionKey()
    place.write_text(
        json.dumps(
            {
                "authentication": manager.getSecretKey() if manager.isAuthenticationEnabled() else None,
                "disk encryption": bytes(encryption.get()).hex() if encryption.isDefined() else None,
            }
        )
    )


def security_manager(spark: SparkSession) -> Any:
    """Return Spark's SecurityManager, by a method handle: Py4J would list SparkEnv's methods, not all of which load."""
    java: Any = spark._jvm.java  # type: ignore[union-attr]
    kinds = [java.lang.Class.forName(f"org.apache.spark.{name}") for name in ("SparkEnv", "SecurityManager")]
    getter = java.lang.invoke.MethodHandles.publicLookup().findVirtual(
        kinds[0], "securityManager", java.lang.invoke.MethodType.methodType(kinds[1])
    )
    arguments = java.util.ArrayList()
    arguments.add(spark.sparkContext._jsc.sc().env())
    return getter.invokeWithArguments(arguments)
