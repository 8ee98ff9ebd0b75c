package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyGeometry;
import io.redoubt.crypto.BodyKey;
import java.io.IOException;
import java.io.InputStream;
import java.util.Optional;
import org.apache.hadoop.fs.Seekable;

/**
 * Reads the chunks of one body from a stream, forwards from the chunk last sought. Nothing of a chunk is given out before its
 * tag verified. Where the body's length is known, {@link #checkEnd} authenticates it; where it is not, a stream that ends
 * anywhere but after a short chunk is an error when the reader gets there.
 */
public final class ChunkReader {
    private final InputStream in;
    private final BodyKey key;
    private final long bodyOffset;
    private final Optional<BodyGeometry> geometry;
    private byte[] ciphertext = new byte[0];
    private long next;
    private boolean ended;

    /**
     * A reader of the body that starts at {@code bodyOffset} of the file and whose first chunk is the next thing that
     * {@code in} reads.
     */
    public ChunkReader(InputStream in, BodyKey key, long bodyOffset, Optional<BodyGeometry> geometry) {
        this.in = in;
        this.key = key;
        this.bodyOffset = bodyOffset;
        this.geometry = geometry;
    }

    /** Offset in the file of a chunk. */
    public long offsetOf(long chunk) {
        return bodyOffset + BodyGeometry.offsetOf(chunk);
    }

    /** Number of the chunk that is read next. */
    public long next() {
        return next;
    }

    /** Authenticates the last chunk, and with it the body's length, if that is known; then returns to the first chunk. */
    public void checkEnd() throws IOException {
        if (geometry.isPresent()) {
            seek(geometry.get().chunkCount() - 1);
            read(1, new byte[BodyGeometry.CHUNK_PLAINTEXT]);
            seek(0);
        }
    }

    /** Makes {@code chunk} the next one; beyond the body's last chunk there is nothing to read. */
    public void seek(long chunk) throws IOException {
        if (chunk == next && !ended) {
            return;
        }
        ended = geometry.isPresent() && chunk >= geometry.get().chunkCount();
        // Without the length, the chunk before the one sought says whether the body goes on; seeking past the end may fail.
        boolean feelForEnd = geometry.isEmpty() && chunk > 0;
        next = feelForEnd ? chunk - 1 : chunk;
        if (!ended) {
            ((Seekable) in).seek(offsetOf(next));
        }
        if (feelForEnd) {
            read(1, new byte[BodyGeometry.CHUNK_PLAINTEXT]);
        }
    }

    /**
     * Decrypts up to {@code chunks} whole chunks into {@code out}, which has room for them, and returns the bytes of
     * plaintext, 0 at the end of the body.
     *
     * @throws RedoubtException {@code sealed.chunk} or {@code sealed.truncated}: nothing of {@code out} may be used
     */
    public int read(int chunks, byte[] out) throws IOException {
        if (ended) {
            return 0;
        }
        int wanted = chunks * BodyGeometry.CHUNK;
        if (ciphertext.length < wanted) {
            ciphertext = new byte[wanted];
        }
        int length = in.readNBytes(ciphertext, 0, wanted);
        ended = length < wanted;
        int plain = 0;
        for (int offset = 0; offset < length; offset += BodyGeometry.CHUNK) {
            int size = Math.min(BodyGeometry.CHUNK, length - offset);
            checkPlace(size);
            plain += key.decrypt(next++, ciphertext, offset, size, out, plain);
        }
        if (ended && length % BodyGeometry.CHUNK == 0) {
            throw new RedoubtException(ErrorCode.TRUNCATED, "the body ends before its last chunk");
        }
        return plain;
    }

    /** Compares the length of the next chunk with its place in the body, if the body's length is known. */
    private void checkPlace(int size) throws RedoubtException {
        if (geometry.isEmpty()) {
            return;
        }
        long last = geometry.get().chunkCount() - 1;
        int expected = next < last ? BodyGeometry.CHUNK : geometry.get().lastChunkLength();
        if (next > last || size != expected) {
            throw new RedoubtException(ErrorCode.TRUNCATED, "chunk " + next + " has an impossible length");
        }
    }
}
