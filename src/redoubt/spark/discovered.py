"""Makes the Data Source ``sealed`` known to programs that do not know Redoubt.

Spark imports modules whose names begin with ``pyspark_`` and registers their ``DefaultSource``. The agent copies this
one, as ``pyspark_redoubt``, beside a submitted program.
"""

from redoubt.spark.source import SealedDataSource as DefaultSource

__all__ = ["DefaultSource"]
