package io.redoubt.crypto;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.security.MessageDigest;
import java.util.Arrays;
import javax.crypto.Cipher;

/**
 * The chunk key of one body: decrypts chunks by number ({@code docs/format.md}, "Body"). Made only by {@link #open}, which
 * checks the commitment. Holds one cipher, so an instance serves one stream and is not safe for several threads.
 */
public final class BodyKey {
    private final ChunkKey key;
    private final Cipher cipher = ChunkKey.newCipher();

    private BodyKey(ChunkKey key) {
        this.key = key;
    }

    /**
     * Derives the chunk key of the body that starts with the 56 bytes of {@code prefix} and checks its commitment.
     *
     * @throws RedoubtException {@code sealed.commitment}: wrong data key, wrong context, or a changed prefix
     */
    public static BodyKey open(byte[] dataKey, byte[] context, byte[] prefix) throws RedoubtException {
        if (prefix.length != BodyGeometry.PREFIX) {
            throw new RedoubtException(ErrorCode.TRUNCATED, "a body ends inside its prefix");
        }
        ChunkKey key = ChunkKey.derive(dataKey, Arrays.copyOf(prefix, ChunkKey.SALT_BYTES), context);
        byte[] stated = Arrays.copyOfRange(prefix, ChunkKey.SALT_BYTES, prefix.length);
        if (!MessageDigest.isEqual(key.commitment, stated)) {
            throw new RedoubtException(ErrorCode.COMMITMENT_MISMATCH, "the key commitment of the body does not verify");
        }
        return new BodyKey(key);
    }

    /** Returns the plaintext of one whole chunk; refuses as {@link #decrypt(long, byte[], int, int, byte[], int)} does. */
    public byte[] decrypt(long chunk, byte[] ciphertext) throws RedoubtException {
        byte[] out = new byte[Math.max(0, ciphertext.length - BodyGeometry.TAG)];
        decrypt(chunk, ciphertext, 0, ciphertext.length, out, 0);
        return out;
    }

    /**
     * Decrypts chunk number {@code chunk}, the {@code length} bytes at {@code offset} of {@code in}, to {@code outOffset} of
     * {@code out}, another array, and returns the plaintext's length. On error, what was written to {@code out} is zero.
     *
     * @throws RedoubtException {@code sealed.chunk}: the tag does not verify; {@code sealed.truncated}: no chunk is so short
     */
    public int decrypt(long chunk, byte[] in, int offset, int length, byte[] out, int outOffset) throws RedoubtException {
        if (length < BodyGeometry.TAG || length > BodyGeometry.CHUNK) {
            throw new RedoubtException(ErrorCode.TRUNCATED, "chunk " + chunk + " has an impossible length");
        }
        return key.apply(cipher, Cipher.DECRYPT_MODE, chunk, in, offset, length, out, outOffset);
    }
}
