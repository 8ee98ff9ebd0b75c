"""TPC-H: data generation, the 22 queries in Spark SQL and in the DataFrame API, and answers checked by DuckDB.

Decides nothing about encryption: the queries see eight tables and do not know what kind of files they come from.
The ``dataframe`` modules import PySpark; every other module can be imported without PySpark and without DuckDB.
"""
