package io.redoubt.hadoop;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyEncryptor;
import java.io.IOException;
import java.io.OutputStream;
import org.apache.hadoop.io.compress.CompressionOutputStream;

/** Writes the body of a sealed file. A file that was not closed reads as truncated. */
final class SealedOutputStream extends CompressionOutputStream {
    private final BodyEncryptor body;
    private boolean finished;

    SealedOutputStream(OutputStream out, BodyEncryptor body) {
        super(out);
        this.body = body;
    }

    @Override
    public void write(int value) throws IOException {
        write(new byte[] {(byte) value}, 0, 1);
    }

    @Override
    public void write(byte[] data, int offset, int length) throws IOException {
        body.write(data, offset, length);
    }

    @Override
    public void finish() throws IOException {
        if (!finished) {
            finished = true;
            body.finish();
        }
    }

    @Override
    public void resetState() throws IOException {
        throw new RedoubtException(ErrorCode.OPTION_REFUSED, "a sealed file cannot be written as a stream of blocks");
    }
}
