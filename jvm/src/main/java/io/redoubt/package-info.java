/**
 * The few Java classes that engines load by name: Hadoop's file system and codec, Parquet's factories, Spark's commit protocols,
 * and what those need of Redoubt's formats ({@code docs/format.md}) and key endpoint ({@code docs/endpoint.md}). A package uses
 * only packages before it in this list: crypto, keys, sealed, write, fs, hadoop, parquet, commit; source stands alone.
 */
package io.redoubt;
