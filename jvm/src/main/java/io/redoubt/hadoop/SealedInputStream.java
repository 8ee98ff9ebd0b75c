package io.redoubt.hadoop;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyGeometry;
import io.redoubt.sealed.ChunkReader;
import java.io.IOException;
import java.io.InputStream;
import org.apache.hadoop.io.compress.SplitCompressionInputStream;

/**
 * The plaintext of a sealed file, or of one split of it, with the positions that Hadoop's line readers steer by (hardening H28).
 *
 * <p>A split of the raw file owns the chunks that start inside it. A line reader reads the lines that begin up to and at the
 * start of the first chunk after the split, and drops its own first line unless its split is the file's first: so
 *
 * <ul>
 *   <li>the adjusted start and end are offsets of chunks, the same one for the end of a split and the start of the next;
 *   <li>the reported position moves past the adjusted end exactly with the first byte from beyond it, which never comes in
 *       one read with bytes from before it: the reader must see that only its last line needed that byte;
 *   <li>a split in which no chunk starts has no lines: it reads as empty, and no chunk is decrypted to find that out.
 * </ul>
 */
final class SealedInputStream extends SplitCompressionInputStream {
    private static final int BATCH_CHUNKS = 8;

    private final ChunkReader chunks;
    private final long endChunk;
    private final boolean empty;
    private final byte[] plain = new byte[BATCH_CHUNKS * BodyGeometry.CHUNK_PLAINTEXT];
    private long firstChunk;
    private int position;
    private int limit;

    /** The whole plaintext. */
    SealedInputStream(InputStream in, ChunkReader chunks) throws IOException {
        super(in, 0, Long.MAX_VALUE);
        this.chunks = chunks;
        this.endChunk = Long.MAX_VALUE;
        this.empty = false;
    }

    /** The plaintext from the first chunk that starts in the split {@code [start, end)} of the file to the file's end. */
    SealedInputStream(InputStream in, ChunkReader chunks, long start, long end) throws IOException {
        super(in, start, end);
        long bodyOffset = chunks.offsetOf(0) - BodyGeometry.PREFIX;
        long first = BodyGeometry.firstChunkFrom(start - bodyOffset);
        this.chunks = chunks;
        this.endChunk = BodyGeometry.firstChunkFrom(end - bodyOffset);
        this.empty = start > 0 && first == endChunk;
        if (start > 0) {
            setStart(chunks.offsetOf(first));
        }
        setEnd(chunks.offsetOf(endChunk));
        if (!empty) {
            chunks.seek(first);
        }
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : Byte.toUnsignedInt(one[0]);
    }

    @Override
    public int read(byte[] data, int offset, int length) throws IOException {
        if (length == 0) {
            return 0;
        }
        if (position == limit && !fill()) {
            return -1;
        }
        int count = Math.min(length, limit - position);
        System.arraycopy(plain, position, data, offset, count);
        position += count;
        return count;
    }

    /** One byte into the chunk that the last byte given out came from; before the first byte, the start of the split. */
    @Override
    public long getPos() {
        if (position == 0) {
            return getAdjustedStart();
        }
        return chunks.offsetOf(firstChunk + (position - 1) / BodyGeometry.CHUNK_PLAINTEXT) + 1;
    }

    @Override
    public void resetState() throws IOException {
        throw new RedoubtException(ErrorCode.OPTION_REFUSED, "a sealed file cannot be read as a stream of blocks");
    }

    private boolean fill() throws IOException {
        if (empty) {
            return false;
        }
        long next = chunks.next();
        int count = next < endChunk ? (int) Math.min(BATCH_CHUNKS, endChunk - next) : 1;
        int length = chunks.read(count, plain);
        if (length > 0) {
            firstChunk = next;
            position = 0;
            limit = length;
        }
        return length > 0;
    }
}
