package io.redoubt.hadoop;

import io.redoubt.crypto.Header;
import io.redoubt.keys.EndpointClient;
import io.redoubt.sealed.StandalonePreamble;
import io.redoubt.write.DatasetWrite;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.UUID;
import org.apache.hadoop.conf.Configurable;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Seekable;
import org.apache.hadoop.io.compress.CompressionInputStream;
import org.apache.hadoop.io.compress.CompressionOutputStream;
import org.apache.hadoop.io.compress.Compressor;
import org.apache.hadoop.io.compress.Decompressor;
import org.apache.hadoop.io.compress.SplitCompressionInputStream;
import org.apache.hadoop.io.compress.SplittableCompressionCodec;

/**
 * Hadoop's view of sealed files: a "compression" codec for {@code *.sealed}, so that programs that know nothing of Redoubt read
 * and write them. It writes standalone sealed files ({@code docs/format.md}), each under a data key of its own, and reads those
 * and parts of datasets, in splits.
 *
 * <p>A codec sees one file. It detects every change inside a file; a file that is missing from a folder of standalone files, or
 * stands there in another's place, it cannot see: adopt the folder as a dataset and verify it.
 *
 * <p>Configuration: {@code redoubt.endpoint} (or the environment's {@code REDOUBT_ENDPOINT}), {@value #KEY} and
 * {@value #MEDIA_TYPE}. Without an endpoint, or without a key there, nothing is written and nothing read (hardening H15).
 */
public final class SealedCodec implements Configurable, SplittableCompressionCodec {
    /** Configuration key: name of the primary key for what is written; the workspace's default if absent. */
    public static final String KEY = DatasetWrite.KEY;

    /** Configuration key: media type of what is written. */
    public static final String MEDIA_TYPE = "redoubt.media-type";

    private static final String DEFAULT_MEDIA_TYPE = "application/octet-stream";
    private static final String EXTENSION = ".sealed";

    private Configuration configuration = new Configuration();

    @Override
    public void setConf(Configuration conf) {
        configuration = conf;
    }

    @Override
    public Configuration getConf() {
        return configuration;
    }

    @Override
    public CompressionOutputStream createOutputStream(OutputStream out) throws IOException {
        UUID file = UUID.randomUUID();
        UUID dataKey = UUID.randomUUID();
        String mediaType = configuration.getTrimmed(MEDIA_TYPE, DEFAULT_MEDIA_TYPE);
        Header header = Header.standalone(dataKey, file, mediaType);
        byte[] context = header.encode();
        EndpointClient.NewDataKey fresh =
                EndpointClient.of(configuration).newDataKey(configuration.getTrimmed(KEY), file, dataKey);
        out.write(new StandalonePreamble(header, fresh.wrapped()).encode());
        return new SealedOutputStream(out, fresh.key().newBody(context, out));
    }

    @Override
    public CompressionOutputStream createOutputStream(OutputStream out, Compressor compressor) throws IOException {
        return createOutputStream(out);
    }

    @Override
    public CompressionInputStream createInputStream(InputStream in) throws IOException {
        return new SealedInputStream(in, new SealedFileOpener(configuration, in).open());
    }

    @Override
    public CompressionInputStream createInputStream(InputStream in, Decompressor decompressor) throws IOException {
        return createInputStream(in);
    }

    /** Opens a split of the raw file. Both read modes read alike: positions matter to line readers only. */
    @Override
    public SplitCompressionInputStream createInputStream(
            InputStream in, Decompressor decompressor, long start, long end, READ_MODE readMode) throws IOException {
        ((Seekable) in).seek(0);
        return new SealedInputStream(in, new SealedFileOpener(configuration, in).open(), start, end);
    }

    /** None: nothing of a codec for sealed files is worth pooling. */
    @Override
    public Class<? extends Compressor> getCompressorType() {
        return null;
    }

    @Override
    public Compressor createCompressor() {
        return null;
    }

    /** None, as for {@link #getCompressorType}. */
    @Override
    public Class<? extends Decompressor> getDecompressorType() {
        return null;
    }

    @Override
    public Decompressor createDecompressor() {
        return null;
    }

    @Override
    public String getDefaultExtension() {
        return EXTENSION;
    }
}
