"""Apache Spark on sealed data: session, configuration, Data Source, Parquet, codec."""

from redoubt.spark.session import Job, job, register, session, stop

__all__ = ["Job", "job", "register", "session", "stop"]
