/** Hadoop's view of sealed datasets: a file system whose listings are commit records ({@code docs/adr/0015-file-system.md}). */
package io.redoubt.fs;
