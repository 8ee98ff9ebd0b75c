/** Hadoop's compression codec, through which unmodified programs read and write sealed files. */
package io.redoubt.hadoop;
