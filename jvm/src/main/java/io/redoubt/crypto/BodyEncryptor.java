package io.redoubt.crypto;

import java.io.IOException;
import java.io.OutputStream;
import java.security.SecureRandom;
import java.util.Arrays;
import javax.crypto.Cipher;

/**
 * Encrypts one body as a stream ({@code docs/format.md}, "Body"). The salt is drawn here: a caller could repeat one. A body
 * is complete only after {@link #finish}, which writes the short last chunk; one that was not finished reads as truncated.
 */
public final class BodyEncryptor {
    private static final SecureRandom RANDOM = new SecureRandom();

    private final OutputStream out;
    private final ChunkKey key;
    private final Cipher cipher = ChunkKey.newCipher();
    private final byte[] plain = new byte[BodyGeometry.CHUNK_PLAINTEXT];
    private final byte[] sealed = new byte[BodyGeometry.CHUNK];
    private int filled;
    private long chunk;
    private boolean usable = true;

    /** Starts a body on {@code out}, which stays the caller's to close, and writes its prefix. */
    public BodyEncryptor(byte[] dataKey, byte[] context, OutputStream out) throws IOException {
        byte[] salt = new byte[ChunkKey.SALT_BYTES];
        RANDOM.nextBytes(salt);
        this.out = out;
        this.key = ChunkKey.derive(dataKey, salt, context);
        out.write(salt);
        out.write(key.commitment);
    }

    /** Encrypts bytes; up to one chunk of them waits for the next call. */
    public void write(byte[] data, int offset, int length) throws IOException {
        begin();
        int from = offset;
        int end = offset + length;
        while (from < end) {
            if (filled == 0 && end - from >= plain.length) {
                seal(data, from, plain.length);
                from += plain.length;
                continue;
            }
            int count = Math.min(end - from, plain.length - filled);
            System.arraycopy(data, from, plain, filled, count);
            filled += count;
            from += count;
            if (filled == plain.length) {
                seal(plain, 0, filled);
                filled = 0;
            }
        }
        usable = true;
    }

    /** Writes the last chunk. The encryptor cannot be used afterwards. */
    public void finish() throws IOException {
        begin();
        seal(plain, 0, filled);
        Arrays.fill(plain, (byte) 0);
    }

    /** A write that fails leaves the encryptor unusable: a body with a hole must never be finished. */
    private void begin() throws IOException {
        if (!usable) {
            throw new IOException("the sealed file is finished, or an earlier write to it failed");
        }
        usable = false;
    }

    private void seal(byte[] data, int offset, int length) throws IOException {
        out.write(sealed, 0, key.apply(cipher, Cipher.ENCRYPT_MODE, chunk++, data, offset, length, sealed, 0));
    }
}
