"""The eight TPC-H tables: their columns, and how each file format that ``tpchgen-cli`` writes is laid out.

Decides: names, order and types of the columns, once, as plain data. Everything an engine needs (Spark's DDL and
StructType, DuckDB's column map, reader options) is derived from it. The types are those in the parquet files of
tpchgen-cli 4.0 (keys BIGINT, small numbers INT, money and quantities DECIMAL(15,2), dates DATE, no NULL anywhere), and
text files are read into exactly the same types, so that a query cannot tell the formats apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, assert_never

from redoubt.errors import UsageError

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType

Format = Literal["tbl", "csv", "parquet"]

FORMATS: Final[tuple[Format, ...]] = ("tbl", "csv", "parquet")

# 100 000 is the largest scale factor the specification knows; below 0.001 tables have so few rows, down to none, that
# most queries have no answer.
MIN_SCALE: Final = 0.001
MAX_SCALE: Final = 100_000

TBL_TRAILER: Final = "_end_of_line"
"""Name of the empty column that ``tbl`` files have because each of their lines ends with a separator."""


class ColumnType(Enum):
    """A column type under the name that Spark SQL gives it."""

    BIGINT = "BIGINT"
    INT = "INT"
    MONEY = "DECIMAL(15,2)"
    DATE = "DATE"
    STRING = "STRING"

    @property
    def duckdb(self) -> str:
        """The same type under DuckDB's name."""
        return "VARCHAR" if self is ColumnType.STRING else self.value

    def spark(self) -> DataType:
        """Return the same type as a PySpark object."""
        from pyspark.sql import types

        match self:
            case ColumnType.BIGINT:
                return types.LongType()
            case ColumnType.INT:
                return types.IntegerType()
            case ColumnType.MONEY:
                return types.DecimalType(15, 2)
            case ColumnType.DATE:
                return types.DateType()
            case ColumnType.STRING:
                return types.StringType()
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One table: its name and its columns in file order."""

    name: str
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """The column names in file order."""
        return tuple(column.name for column in self.columns)

    def ddl(self, file_format: Format = "parquet") -> str:
        """Return the Spark DDL of the files, such as ``r_regionkey BIGINT, r_name STRING, ...``.

        For ``tbl`` it ends with :data:`TBL_TRAILER`, which the reader has to drop.
        """
        fields = [f"{column.name} {column.type.value}" for column in self.columns]
        if file_format == "tbl":
            fields.append(f"{TBL_TRAILER} STRING")
        return ", ".join(fields)

    def duckdb_columns(self, file_format: Format = "parquet") -> dict[str, str]:
        """Return DuckDB's type by column name, in file order; for ``tbl`` with :data:`TBL_TRAILER` at the end."""
        columns = {column.name: column.type.duckdb for column in self.columns}
        if file_format == "tbl":
            columns[TBL_TRAILER] = "VARCHAR"
        return columns

    def struct_type(self) -> StructType:
        """Return the Spark type of a row.

        Every field is nullable although no value is ever NULL: Spark forgets NOT NULL when it reads files, and this
        is the schema that a loaded table has.
        """
        from pyspark.sql.types import StructField, StructType

        return StructType([StructField(column.name, column.type.spark()) for column in self.columns])


def require_scale(scale: float) -> None:
    """Refuse a scale factor outside :data:`MIN_SCALE` to :data:`MAX_SCALE`.

    Raises:
        UsageError: ``scale`` is outside the range, or not a number.
    """
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise UsageError(f"the scale factor must be between {MIN_SCALE} and {MAX_SCALE}, not {scale!r}")


def spark_read_options(file_format: Format) -> dict[str, str]:
    """Return the options with which Spark reads these files strictly: a value it cannot parse is an error."""
    match file_format:
        case "parquet":
            return {}
        case "csv":
            # enforceSchema=false compares the header with the schema; true would silently ignore the header.
            # Quotes are doubled in these files as in RFC 4180, not preceded by Spark's default backslash.
            return {
                "header": "true",
                "enforceSchema": "false",
                "quote": '"',
                "escape": '"',
                "dateFormat": "yyyy-MM-dd",
                "mode": "FAILFAST",
            }
        case "tbl":
            # An empty quote character turns quoting off: in these files a quote is a character like any other.
            return {"sep": "|", "header": "false", "quote": "", "dateFormat": "yyyy-MM-dd", "mode": "FAILFAST"}
        case _:
            assert_never(file_format)


def spark_source(file_format: Format) -> str:
    """Return the name of the Spark data source that reads ``file_format``."""
    return "parquet" if file_format == "parquet" else "csv"


def _table(table: str, prefix: str, /, **columns: ColumnType) -> TableSchema:
    return TableSchema(table, tuple(Column(f"{prefix}_{column}", type_) for column, type_ in columns.items()))


_BIGINT, _INT, _MONEY, _DATE, _STRING = ColumnType

_SCHEMAS = (
    _table("region", "r", regionkey=_BIGINT, name=_STRING, comment=_STRING),
    _table("nation", "n", nationkey=_BIGINT, name=_STRING, regionkey=_BIGINT, comment=_STRING),
    _table(
        "supplier",
        "s",
        suppkey=_BIGINT,
        name=_STRING,
        address=_STRING,
        nationkey=_BIGINT,
        phone=_STRING,
        acctbal=_MONEY,
        comment=_STRING,
    ),
    _table(
        "customer",
        "c",
        custkey=_BIGINT,
        name=_STRING,
        address=_STRING,
        nationkey=_BIGINT,
        phone=_STRING,
        acctbal=_MONEY,
        mktsegment=_STRING,
        comment=_STRING,
    ),
    _table(
        "part",
        "p",
        partkey=_BIGINT,
        name=_STRING,
        mfgr=_STRING,
        brand=_STRING,
        type=_STRING,
        size=_INT,
        container=_STRING,
        retailprice=_MONEY,
        comment=_STRING,
    ),
    _table(
        "partsupp",
        "ps",
        partkey=_BIGINT,
        suppkey=_BIGINT,
        availqty=_INT,
        supplycost=_MONEY,
        comment=_STRING,
    ),
    _table(
        "orders",
        "o",
        orderkey=_BIGINT,
        custkey=_BIGINT,
        orderstatus=_STRING,
        totalprice=_MONEY,
        orderdate=_DATE,
        orderpriority=_STRING,
        clerk=_STRING,
        shippriority=_INT,
        comment=_STRING,
    ),
    _table(
        "lineitem",
        "l",
        orderkey=_BIGINT,
        partkey=_BIGINT,
        suppkey=_BIGINT,
        linenumber=_INT,
        quantity=_MONEY,
        extendedprice=_MONEY,
        discount=_MONEY,
        tax=_MONEY,
        returnflag=_STRING,
        linestatus=_STRING,
        shipdate=_DATE,
        commitdate=_DATE,
        receiptdate=_DATE,
        shipinstruct=_STRING,
        shipmode=_STRING,
        comment=_STRING,
    ),
)

TABLES: Final[Mapping[str, TableSchema]] = MappingProxyType({schema.name: schema for schema in _SCHEMAS})
"""The eight tables by name, smallest first."""
