package io.redoubt.crypto;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;

/** Where the chunks of a body of known ciphertext length lie ({@code docs/format.md}, "Body"). Units are bytes. */
public record BodyGeometry(long ciphertextLength, long chunkCount) {
    /** Plaintext in every chunk but the last, which has less. */
    public static final int CHUNK_PLAINTEXT = 16384;

    /** The tag at the end of each chunk. */
    public static final int TAG = 16;

    /** Ciphertext of every chunk but the last. */
    public static final int CHUNK = CHUNK_PLAINTEXT + TAG;

    /** Salt and key commitment before the first chunk. */
    public static final int PREFIX = 56;

    private static final long MAX_CHUNKS = 1L << 38;

    /**
     * Returns the geometry of a body of this length, prefix included.
     *
     * @throws RedoubtException {@code sealed.truncated}: no body has this length
     */
    public static BodyGeometry of(long ciphertextLength) throws RedoubtException {
        long chunks = ciphertextLength - PREFIX;
        if (chunks < TAG || chunks % CHUNK < TAG || chunks / CHUNK + 1 > MAX_CHUNKS) {
            throw new RedoubtException(ErrorCode.TRUNCATED, "no body is " + ciphertextLength + " bytes long");
        }
        return new BodyGeometry(ciphertextLength, chunks / CHUNK + 1);
    }

    /** Offset in the body of a chunk. */
    public static long offsetOf(long chunk) {
        return PREFIX + chunk * CHUNK;
    }

    /** The first chunk that starts at or after this offset of the body; 0 for offsets before the body. */
    public static long firstChunkFrom(long offset) {
        return offset <= PREFIX ? 0 : (offset - PREFIX + CHUNK - 1) / CHUNK;
    }

    /** Ciphertext of the last chunk. */
    public int lastChunkLength() {
        return (int) (ciphertextLength - offsetOf(chunkCount - 1));
    }

    /** Plaintext of the body, if its last chunk is authentic. */
    public long plaintextLength() {
        return ciphertextLength - PREFIX - chunkCount * TAG;
    }
}
