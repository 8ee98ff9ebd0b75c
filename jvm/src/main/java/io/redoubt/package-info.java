/**
 * The few Java classes that engines load by name: Hadoop's codec, Parquet's factories, and what those need of Redoubt's
 * formats ({@code docs/format.md}) and key endpoint ({@code docs/endpoint.md}). A package uses only packages before it in
 * this list: crypto, keys, sealed, then one package for each engine.
 */
package io.redoubt;
