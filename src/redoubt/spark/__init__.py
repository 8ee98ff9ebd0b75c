"""Apache Spark on sealed data: session, configuration, Data Source, Parquet, codec."""

from redoubt.spark.io import read, write
from redoubt.spark.session import Job, job, register, session, stop

__all__ = ["Job", "job", "read", "register", "session", "stop", "write"]
