package io.redoubt.fs;

import io.redoubt.crypto.BodyGeometry;
import io.redoubt.sealed.ChunkReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import org.apache.hadoop.fs.FSInputStream;

/**
 * The plaintext of a part, to be sought at will. Chunks are decrypted when their bytes are asked for, more at a time the longer
 * the reading goes straight on: readers of columns jump, readers of lines do not.
 */
final class PartInputStream extends FSInputStream {
    private static final int MAX_BATCH = 16;

    private final InputStream stored;
    private final ChunkReader chunks;
    private final long length;
    private byte[] plain = new byte[BodyGeometry.CHUNK_PLAINTEXT];
    private long start;
    private int limit;
    private long position;
    private int batch = 1;

    /**
     * @param stored the file, which is closed with this
     * @param length of the plaintext
     */
    PartInputStream(InputStream stored, ChunkReader chunks, long length) {
        this.stored = stored;
        this.chunks = chunks;
        this.length = length;
    }

    @Override
    public synchronized void seek(long to) throws IOException {
        if (to < 0 || to > length) {
            throw new EOFException("position " + to + " is not in a file of " + length + " bytes");
        }
        position = to;
    }

    @Override
    public synchronized long getPos() {
        return position;
    }

    @Override
    public boolean seekToNewSource(long target) {
        return false;
    }

    @Override
    public synchronized int available() {
        return (int) Math.min(Integer.MAX_VALUE, length - position);
    }

    @Override
    public synchronized int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : Byte.toUnsignedInt(one[0]);
    }

    @Override
    public synchronized int read(byte[] data, int offset, int count) throws IOException {
        if (count == 0) {
            return 0;
        }
        if (position >= length) {
            return -1;
        }
        if (position < start || position >= start + limit) {
            fill();
        }
        int from = (int) (position - start);
        int given = Math.min(count, limit - from);
        System.arraycopy(plain, from, data, offset, given);
        position += given;
        return given;
    }

    @Override
    public void close() throws IOException {
        stored.close();
    }

    private void fill() throws IOException {
        long chunk = position / BodyGeometry.CHUNK_PLAINTEXT;
        batch = chunk == chunks.next() && limit > 0 ? Math.min(MAX_BATCH, batch * 2) : 1;
        limit = 0; // a read that fails leaves nothing to give out
        if (plain.length < batch * BodyGeometry.CHUNK_PLAINTEXT) {
            plain = new byte[batch * BodyGeometry.CHUNK_PLAINTEXT];
        }
        chunks.seek(chunk);
        start = chunk * BodyGeometry.CHUNK_PLAINTEXT;
        limit = chunks.read(batch, plain);
        if (position >= start + limit) {
            throw new EOFException("the file ends at " + (start + limit) + ", not at " + length);
        }
    }
}
