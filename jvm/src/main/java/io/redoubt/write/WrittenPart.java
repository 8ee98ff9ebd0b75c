package io.redoubt.write;

import java.io.Serializable;

/**
 * A file that a task wrote, told to the driver on Spark's own channel: the commit lists what tasks report, never what a listing
 * of the folder shows.
 *
 * @param name path relative to the dataset
 * @param prefix lower-case hex of the first 56 bytes of its body; empty for Parquet
 * @param sha256 lower-case hex SHA-256 of the file
 */
public record WrittenPart(String name, long length, String prefix, String sha256, String mediaType) implements Serializable {}
