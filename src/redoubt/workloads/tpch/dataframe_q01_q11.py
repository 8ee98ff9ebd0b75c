"""TPC-H queries 1 to 11 in the PySpark DataFrame API, with the validation parameters of the specification.

Each function returns the columns, rows and order of the SQL text with its number. What SQL writes as a correlated
subquery is written here as the join that it means. Importing this module imports PySpark.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 -- the name PySpark documents it under

from redoubt.workloads.tpch._columns import decimal, discounted_price, in_dates
from redoubt.workloads.tpch.sql import ROW_LIMITS, q11_fraction
from redoubt.workloads.tpch.tables import Tables


def q01(tables: Tables) -> DataFrame:
    """Pricing summary report."""
    return (
        # 90 days before 1998-12-01.
        tables.lineitem.where(F.col("l_shipdate") <= F.lit(date(1998, 9, 2)))
        .groupBy("l_returnflag", "l_linestatus")
        .agg(
            F.sum("l_quantity").alias("sum_qty"),
            F.sum("l_extendedprice").alias("sum_base_price"),
            F.sum(discounted_price()).alias("sum_disc_price"),
            F.sum(discounted_price() * (F.lit(1) + F.col("l_tax"))).alias("sum_charge"),
            F.avg("l_quantity").alias("avg_qty"),
            F.avg("l_extendedprice").alias("avg_price"),
            F.avg("l_discount").alias("avg_disc"),
            F.count("*").alias("count_order"),
        )
        .orderBy("l_returnflag", "l_linestatus")
    )


def q02(tables: Tables) -> DataFrame:
    """Minimum cost supplier."""
    offers = (
        tables.region.where(F.col("r_name") == "EUROPE")
        .join(tables.nation, F.col("n_regionkey") == F.col("r_regionkey"))
        .join(tables.supplier, F.col("s_nationkey") == F.col("n_nationkey"))
        .join(tables.partsupp, F.col("ps_suppkey") == F.col("s_suppkey"))
    )
    cheapest = offers.groupBy(F.col("ps_partkey").alias("cheapest_partkey")).agg(
        F.min("ps_supplycost").alias("cheapest_cost")
    )
    return (
        tables.part.where((F.col("p_size") == 15) & F.col("p_type").endswith("BRASS"))
        .join(offers, F.col("p_partkey") == F.col("ps_partkey"))
        .join(
            cheapest,
            (F.col("p_partkey") == F.col("cheapest_partkey")) & (F.col("ps_supplycost") == F.col("cheapest_cost")),
        )
        .select("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment")
        .orderBy(F.desc("s_acctbal"), "n_name", "s_name", "p_partkey")
        .limit(ROW_LIMITS[2])
    )


def q03(tables: Tables) -> DataFrame:
    """Shipping priority."""
    today = F.lit(date(1995, 3, 15))
    return (
        tables.customer.where(F.col("c_mktsegment") == "BUILDING")
        .join(tables.orders.where(F.col("o_orderdate") < today), F.col("o_custkey") == F.col("c_custkey"))
        .join(tables.lineitem.where(F.col("l_shipdate") > today), F.col("l_orderkey") == F.col("o_orderkey"))
        .groupBy("l_orderkey", "o_orderdate", "o_shippriority")
        .agg(F.sum(discounted_price()).alias("revenue"))
        .select("l_orderkey", "revenue", "o_orderdate", "o_shippriority")
        .orderBy(F.desc("revenue"), "o_orderdate")
        .limit(ROW_LIMITS[3])
    )


def q04(tables: Tables) -> DataFrame:
    """Order priority checking."""
    late = tables.lineitem.where(F.col("l_commitdate") < F.col("l_receiptdate"))
    return (
        tables.orders.where(in_dates("o_orderdate", date(1993, 7, 1), date(1993, 10, 1)))
        .join(late, F.col("l_orderkey") == F.col("o_orderkey"), "left_semi")
        .groupBy("o_orderpriority")
        .agg(F.count("*").alias("order_count"))
        .orderBy("o_orderpriority")
    )


def q05(tables: Tables) -> DataFrame:
    """Local supplier volume."""
    return (
        tables.region.where(F.col("r_name") == "ASIA")
        .join(tables.nation, F.col("n_regionkey") == F.col("r_regionkey"))
        .join(tables.customer, F.col("c_nationkey") == F.col("n_nationkey"))
        .join(
            tables.orders.where(in_dates("o_orderdate", date(1994, 1, 1), date(1995, 1, 1))),
            F.col("o_custkey") == F.col("c_custkey"),
        )
        .join(tables.lineitem, F.col("l_orderkey") == F.col("o_orderkey"))
        .join(
            tables.supplier,
            (F.col("s_suppkey") == F.col("l_suppkey")) & (F.col("s_nationkey") == F.col("c_nationkey")),
        )
        .groupBy("n_name")
        .agg(F.sum(discounted_price()).alias("revenue"))
        .orderBy(F.desc("revenue"))
    )


def q06(tables: Tables) -> DataFrame:
    """Forecasting revenue change."""
    return tables.lineitem.where(
        in_dates("l_shipdate", date(1994, 1, 1), date(1995, 1, 1))
        & F.col("l_discount").between(decimal("0.05"), decimal("0.07"))
        & (F.col("l_quantity") < 24)
    ).agg(F.sum(F.col("l_extendedprice") * F.col("l_discount")).alias("revenue"))


def q07(tables: Tables) -> DataFrame:
    """Volume shipping."""
    sellers = tables.nation.select(F.col("n_nationkey").alias("supp_key"), F.col("n_name").alias("supp_nation"))
    buyers = tables.nation.select(F.col("n_nationkey").alias("cust_key"), F.col("n_name").alias("cust_nation"))
    return (
        tables.lineitem.where(F.col("l_shipdate").between(F.lit(date(1995, 1, 1)), F.lit(date(1996, 12, 31))))
        .join(tables.supplier, F.col("s_suppkey") == F.col("l_suppkey"))
        .join(tables.orders, F.col("o_orderkey") == F.col("l_orderkey"))
        .join(tables.customer, F.col("c_custkey") == F.col("o_custkey"))
        .join(sellers, F.col("s_nationkey") == F.col("supp_key"))
        .join(buyers, F.col("c_nationkey") == F.col("cust_key"))
        .where(
            ((F.col("supp_nation") == "FRANCE") & (F.col("cust_nation") == "GERMANY"))
            | ((F.col("supp_nation") == "GERMANY") & (F.col("cust_nation") == "FRANCE"))
        )
        .groupBy("supp_nation", "cust_nation", F.year("l_shipdate").alias("l_year"))
        .agg(F.sum(discounted_price()).alias("revenue"))
        .orderBy("supp_nation", "cust_nation", "l_year")
    )


def q08(tables: Tables) -> DataFrame:
    """National market share."""
    suppliers = tables.supplier.join(
        tables.nation.select(F.col("n_nationkey").alias("supp_key"), F.col("n_name").alias("nation")),
        F.col("s_nationkey") == F.col("supp_key"),
    )
    customers = (
        tables.region.where(F.col("r_name") == "AMERICA")
        .join(tables.nation, F.col("n_regionkey") == F.col("r_regionkey"))
        .join(tables.customer, F.col("c_nationkey") == F.col("n_nationkey"))
    )
    volume = discounted_price()
    return (
        tables.part.where(F.col("p_type") == "ECONOMY ANODIZED STEEL")
        .join(tables.lineitem, F.col("l_partkey") == F.col("p_partkey"))
        .join(suppliers, F.col("s_suppkey") == F.col("l_suppkey"))
        .join(
            tables.orders.where(F.col("o_orderdate").between(F.lit(date(1995, 1, 1)), F.lit(date(1996, 12, 31)))),
            F.col("o_orderkey") == F.col("l_orderkey"),
        )
        .join(customers, F.col("c_custkey") == F.col("o_custkey"))
        .groupBy(F.year("o_orderdate").alias("o_year"))
        .agg(
            (F.sum(F.when(F.col("nation") == "BRAZIL", volume).otherwise(0)) / F.sum(volume)).alias("mkt_share"),
        )
        .orderBy("o_year")
    )


def q09(tables: Tables) -> DataFrame:
    """Product type profit measure."""
    cost = F.col("ps_supplycost") * F.col("l_quantity")
    return (
        tables.part.where(F.col("p_name").contains("green"))
        .join(tables.lineitem, F.col("l_partkey") == F.col("p_partkey"))
        .join(tables.supplier, F.col("s_suppkey") == F.col("l_suppkey"))
        .join(
            tables.partsupp,
            (F.col("ps_suppkey") == F.col("l_suppkey")) & (F.col("ps_partkey") == F.col("l_partkey")),
        )
        .join(tables.orders, F.col("o_orderkey") == F.col("l_orderkey"))
        .join(tables.nation, F.col("n_nationkey") == F.col("s_nationkey"))
        .groupBy(F.col("n_name").alias("nation"), F.year("o_orderdate").alias("o_year"))
        .agg(F.sum(discounted_price() - cost).alias("sum_profit"))
        .orderBy("nation", F.desc("o_year"))
    )


def q10(tables: Tables) -> DataFrame:
    """Returned item reporting."""
    return (
        tables.orders.where(in_dates("o_orderdate", date(1993, 10, 1), date(1994, 1, 1)))
        .join(tables.lineitem.where(F.col("l_returnflag") == "R"), F.col("l_orderkey") == F.col("o_orderkey"))
        .join(tables.customer, F.col("c_custkey") == F.col("o_custkey"))
        .join(tables.nation, F.col("n_nationkey") == F.col("c_nationkey"))
        .groupBy("c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment")
        .agg(F.sum(discounted_price()).alias("revenue"))
        .select("c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment")
        .orderBy(F.desc("revenue"))
        .limit(ROW_LIMITS[10])
    )


def q11(tables: Tables) -> DataFrame:
    """Important stock identification; the share that makes a part important depends on ``tables.scale``."""
    stock_value = F.sum(F.col("ps_supplycost") * F.col("ps_availqty"))
    stock = (
        tables.nation.where(F.col("n_name") == "GERMANY")
        .join(tables.supplier, F.col("s_nationkey") == F.col("n_nationkey"))
        .join(tables.partsupp, F.col("ps_suppkey") == F.col("s_suppkey"))
    )
    total = stock.agg((stock_value * decimal(format(q11_fraction(tables.scale), "f"))).alias("threshold"))
    return (
        stock.groupBy("ps_partkey")
        .agg(stock_value.alias("value"))
        .crossJoin(total)
        .where(F.col("value") > F.col("threshold"))
        .select("ps_partkey", "value")
        .orderBy(F.desc("value"))
    )
