/**
 * Sealed Parquet tables ({@code docs/format.md}, "Parquet tables"): the crypto factories that parquet-mr loads by name, and
 * what Spark needs so that reads follow, and writes end with, a commit record. Files are encrypted by parquet-mr itself.
 */
package io.redoubt.parquet;
