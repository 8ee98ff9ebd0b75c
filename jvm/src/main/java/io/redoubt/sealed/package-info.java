/** Sealed files and datasets on any Hadoop file system, for reading; parts are checked against the commit record. */
package io.redoubt.sealed;
