"""A Spark standalone cluster for one trust domain, whose every process is attested (``docs/cluster.md``)."""

from __future__ import annotations

from redoubt.spark.cluster.conf import driver_conf as driver_conf

__all__ = ["driver_conf"]
