package io.redoubt.parquet;

import java.io.Serializable;

/**
 * A file that a task wrote, told to the driver on Spark's own channel: the commit lists what tasks report, never what a listing
 * of the folder shows.
 *
 * @param name path relative to the dataset
 * @param sha256 lower-case hex SHA-256 of the file
 */
record WrittenPart(String name, long length, String sha256) implements Serializable {}
