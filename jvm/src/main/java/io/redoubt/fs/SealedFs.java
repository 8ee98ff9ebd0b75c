package io.redoubt.fs;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.DelegateToFileSystem;
import org.apache.hadoop.fs.FsConstants;

/** {@link SealedFileSystem} for programs that use Hadoop's {@code FileContext} ({@code fs.AbstractFileSystem.file.impl}). */
public final class SealedFs extends DelegateToFileSystem {
    /** Made by Hadoop. */
    public SealedFs(URI uri, Configuration conf) throws IOException, URISyntaxException {
        super(FsConstants.LOCAL_FS_URI, new SealedFileSystem(), conf, FsConstants.LOCAL_FS_URI.getScheme(), false);
    }
}
