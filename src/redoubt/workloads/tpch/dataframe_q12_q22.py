"""TPC-H queries 12 to 22 in the PySpark DataFrame API, with the validation parameters of the specification.

Each function returns the columns, rows and order of the SQL text with its number. What SQL writes as a correlated
subquery is written here as the join that it means. Importing this module imports PySpark.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 -- the name PySpark documents it under

from redoubt.workloads.tpch._columns import decimal, discounted_price, in_dates
from redoubt.workloads.tpch.sql import ROW_LIMITS
from redoubt.workloads.tpch.tables import Tables


def q12(tables: Tables) -> DataFrame:
    """Shipping modes and order priority."""
    urgent = F.col("o_orderpriority").isin("1-URGENT", "2-HIGH")
    return (
        tables.lineitem.where(
            F.col("l_shipmode").isin("MAIL", "SHIP")
            & (F.col("l_commitdate") < F.col("l_receiptdate"))
            & (F.col("l_shipdate") < F.col("l_commitdate"))
            & in_dates("l_receiptdate", date(1994, 1, 1), date(1995, 1, 1))
        )
        .join(tables.orders, F.col("o_orderkey") == F.col("l_orderkey"))
        .groupBy("l_shipmode")
        .agg(
            F.sum(F.when(urgent, 1).otherwise(0)).alias("high_line_count"),
            F.sum(F.when(~urgent, 1).otherwise(0)).alias("low_line_count"),
        )
        .orderBy("l_shipmode")
    )


def q13(tables: Tables) -> DataFrame:
    """Customer distribution."""
    orders = tables.orders.where(~F.col("o_comment").like("%special%requests%"))
    return (
        tables.customer.join(orders, F.col("o_custkey") == F.col("c_custkey"), "left_outer")
        .groupBy("c_custkey")
        .agg(F.count("o_orderkey").alias("c_count"))
        .groupBy("c_count")
        .agg(F.count("*").alias("custdist"))
        .orderBy(F.desc("custdist"), F.desc("c_count"))
    )


def q14(tables: Tables) -> DataFrame:
    """Promotion effect."""
    revenue = discounted_price()
    promoted = F.when(F.col("p_type").startswith("PROMO"), revenue).otherwise(0)
    return (
        tables.lineitem.where(in_dates("l_shipdate", date(1995, 9, 1), date(1995, 10, 1)))
        .join(tables.part, F.col("p_partkey") == F.col("l_partkey"))
        .agg((decimal("100.00") * F.sum(promoted) / F.sum(revenue)).alias("promo_revenue"))
    )


def q15(tables: Tables) -> DataFrame:
    """Top supplier."""
    revenue = (
        tables.lineitem.where(in_dates("l_shipdate", date(1996, 1, 1), date(1996, 4, 1)))
        .groupBy(F.col("l_suppkey").alias("supplier_no"))
        .agg(F.sum(discounted_price()).alias("total_revenue"))
    )
    best = revenue.agg(F.max("total_revenue").alias("best_revenue"))
    return (
        revenue.join(best, F.col("total_revenue") == F.col("best_revenue"))
        .join(tables.supplier, F.col("s_suppkey") == F.col("supplier_no"))
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .orderBy("s_suppkey")
    )


def q16(tables: Tables) -> DataFrame:
    """Parts/supplier relationship."""
    complained_about = tables.supplier.where(F.col("s_comment").like("%Customer%Complaints%"))
    parts = tables.part.where(
        (F.col("p_brand") != "Brand#45")
        & ~F.col("p_type").startswith("MEDIUM POLISHED")
        & F.col("p_size").isin(49, 14, 23, 45, 19, 3, 36, 9)
    )
    return (
        tables.partsupp.join(parts, F.col("p_partkey") == F.col("ps_partkey"))
        # SQL's NOT IN is an anti join only because keys are never NULL.
        .join(complained_about, F.col("s_suppkey") == F.col("ps_suppkey"), "left_anti")
        .groupBy("p_brand", "p_type", "p_size")
        .agg(F.countDistinct("ps_suppkey").alias("supplier_cnt"))
        .orderBy(F.desc("supplier_cnt"), "p_brand", "p_type", "p_size")
    )


def q17(tables: Tables) -> DataFrame:
    """Small-quantity-order revenue."""
    parts = tables.part.where((F.col("p_brand") == "Brand#23") & (F.col("p_container") == "MED BOX"))
    small = tables.lineitem.groupBy(F.col("l_partkey").alias("small_partkey")).agg(
        (decimal("0.2") * F.avg("l_quantity")).alias("small_quantity")
    )
    return (
        parts.join(tables.lineitem, F.col("l_partkey") == F.col("p_partkey"))
        .join(small, F.col("small_partkey") == F.col("p_partkey"))
        .where(F.col("l_quantity") < F.col("small_quantity"))
        .agg((F.sum("l_extendedprice") / decimal("7.0")).alias("avg_yearly"))
    )


def q18(tables: Tables) -> DataFrame:
    """Large volume customer."""
    large = (
        tables.lineitem.groupBy(F.col("l_orderkey").alias("large_orderkey"))
        .agg(F.sum("l_quantity").alias("quantity"))
        .where(F.col("quantity") > 300)
    )
    return (
        tables.orders.join(large, F.col("large_orderkey") == F.col("o_orderkey"), "left_semi")
        .join(tables.customer, F.col("c_custkey") == F.col("o_custkey"))
        .join(tables.lineitem, F.col("l_orderkey") == F.col("o_orderkey"))
        .groupBy("c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice")
        .agg(F.sum("l_quantity").alias("sum_quantity"))
        .orderBy(F.desc("o_totalprice"), "o_orderdate")
        .limit(ROW_LIMITS[18])
    )


def q19(tables: Tables) -> DataFrame:
    """Discounted revenue."""

    def wanted(brand: str, containers: tuple[str, ...], least: int, largest_size: int) -> Column:
        return (
            (F.col("p_brand") == brand)
            & F.col("p_container").isin(*containers)
            & F.col("l_quantity").between(least, least + 10)
            & F.col("p_size").between(1, largest_size)
        )

    by_air_in_person = F.col("l_shipmode").isin("AIR", "AIR REG") & (F.col("l_shipinstruct") == "DELIVER IN PERSON")
    return (
        tables.lineitem.where(by_air_in_person)
        .join(tables.part, F.col("p_partkey") == F.col("l_partkey"))
        .where(
            wanted("Brand#12", ("SM CASE", "SM BOX", "SM PACK", "SM PKG"), 1, 5)
            | wanted("Brand#23", ("MED BAG", "MED BOX", "MED PKG", "MED PACK"), 10, 10)
            | wanted("Brand#34", ("LG CASE", "LG BOX", "LG PACK", "LG PKG"), 20, 15)
        )
        .agg(F.sum(discounted_price()).alias("revenue"))
    )


def q20(tables: Tables) -> DataFrame:
    """Potential part promotion."""
    half_shipped = (
        tables.lineitem.where(in_dates("l_shipdate", date(1994, 1, 1), date(1995, 1, 1)))
        .groupBy("l_partkey", "l_suppkey")
        .agg((decimal("0.5") * F.sum("l_quantity")).alias("half_quantity"))
    )
    surplus = (
        tables.partsupp.join(
            tables.part.where(F.col("p_name").startswith("forest")),
            F.col("p_partkey") == F.col("ps_partkey"),
            "left_semi",
        )
        # An inner join: where nothing was shipped SQL compares with NULL, which selects nothing either.
        .join(
            half_shipped,
            (F.col("l_partkey") == F.col("ps_partkey")) & (F.col("l_suppkey") == F.col("ps_suppkey")),
        )
        .where(F.col("ps_availqty") > F.col("half_quantity"))
    )
    return (
        tables.supplier.join(
            tables.nation.where(F.col("n_name") == "CANADA"), F.col("n_nationkey") == F.col("s_nationkey")
        )
        .join(surplus, F.col("ps_suppkey") == F.col("s_suppkey"), "left_semi")
        .select("s_name", "s_address")
        .orderBy("s_name")
    )


def q21(tables: Tables) -> DataFrame:
    """Suppliers who kept orders waiting."""
    late = tables.lineitem.where(F.col("l_receiptdate") > F.col("l_commitdate"))
    others = tables.lineitem.select(
        F.col("l_orderkey").alias("other_orderkey"), F.col("l_suppkey").alias("other_suppkey")
    )
    others_late = late.select(F.col("l_orderkey").alias("late_orderkey"), F.col("l_suppkey").alias("late_suppkey"))
    return (
        tables.nation.where(F.col("n_name") == "SAUDI ARABIA")
        .join(tables.supplier, F.col("s_nationkey") == F.col("n_nationkey"))
        .join(late, F.col("l_suppkey") == F.col("s_suppkey"))
        .join(tables.orders.where(F.col("o_orderstatus") == "F"), F.col("o_orderkey") == F.col("l_orderkey"))
        .join(
            others,
            (F.col("other_orderkey") == F.col("l_orderkey")) & (F.col("other_suppkey") != F.col("l_suppkey")),
            "left_semi",
        )
        .join(
            others_late,
            (F.col("late_orderkey") == F.col("l_orderkey")) & (F.col("late_suppkey") != F.col("l_suppkey")),
            "left_anti",
        )
        .groupBy("s_name")
        .agg(F.count("*").alias("numwait"))
        .orderBy(F.desc("numwait"), "s_name")
        .limit(ROW_LIMITS[21])
    )


def q22(tables: Tables) -> DataFrame:
    """Global sales opportunity."""
    customers = tables.customer.withColumn("cntrycode", F.substring("c_phone", 1, 2)).where(
        F.col("cntrycode").isin("13", "31", "23", "29", "30", "18", "17")
    )
    average = customers.where(F.col("c_acctbal") > 0).agg(F.avg("c_acctbal").alias("average"))
    return (
        customers.crossJoin(average)
        .where(F.col("c_acctbal") > F.col("average"))
        .join(tables.orders, F.col("o_custkey") == F.col("c_custkey"), "left_anti")
        .groupBy("cntrycode")
        .agg(F.count("*").alias("numcust"), F.sum("c_acctbal").alias("totacctbal"))
        .orderBy("cntrycode")
    )
