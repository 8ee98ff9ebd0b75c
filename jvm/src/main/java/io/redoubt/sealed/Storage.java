package io.redoubt.sealed;

import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.ChecksumFileSystem;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The storage itself, which nobody trusts: what lies beneath Redoubt's file system and beneath Hadoop's own checksums, whose
 * errors would come before ours.
 */
public final class Storage {
    private Storage() {}

    /** Returns the storage of a path. */
    public static FileSystem of(Path path, Configuration configuration) throws IOException {
        return beneath(path.getFileSystem(configuration));
    }

    /** Returns what lies beneath a file system; itself, if nothing is wrapped around it. */
    public static FileSystem beneath(FileSystem fileSystem) {
        return fileSystem instanceof ChecksumFileSystem checked ? checked.getRawFileSystem() : fileSystem;
    }
}
