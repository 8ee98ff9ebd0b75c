package io.redoubt.crypto;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** What C2SP chunked encryption derives for one body: chunk key, base nonce, commitment. */
final class ChunkKey {
    static final int SALT_BYTES = 24;
    static final int DATA_KEY_BYTES = 32;

    private static final byte[] INFO =
            "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0".getBytes(StandardCharsets.US_ASCII);
    private static final int KEY_BYTES = 32;
    private static final int NONCE_BYTES = 12;
    private static final int COMMITMENT_BYTES = 32;

    static {
        WarmUp.start();
    }

    final byte[] commitment;
    private final SecretKey key;
    private final byte[] baseNonce;

    private ChunkKey(byte[] material) {
        int nonceEnd = KEY_BYTES + NONCE_BYTES;
        key = new SecretKeySpec(material, 0, KEY_BYTES, "AES");
        baseNonce = Arrays.copyOfRange(material, KEY_BYTES, nonceEnd);
        commitment = Arrays.copyOfRange(material, nonceEnd, material.length);
        Arrays.fill(material, (byte) 0);
    }

    static ChunkKey derive(byte[] dataKey, byte[] salt, byte[] context) {
        if (dataKey.length != DATA_KEY_BYTES || salt.length != SALT_BYTES) {
            throw new IllegalArgumentException("a data key has 32 bytes and a salt 24");
        }
        byte[] info = ByteBuffer.allocate(INFO.length + salt.length + context.length)
                .put(INFO)
                .put(salt)
                .put(context)
                .array();
        return new ChunkKey(Hkdf.expand(dataKey, info, KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES));
    }

    static Cipher newCipher() {
        try {
            return Cipher.getInstance("AES/GCM/NoPadding");
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java runtime lacks AES-GCM", e);
        }
    }

    /**
     * Encrypts or decrypts one chunk with {@code cipher} and returns the bytes written. Its nonce is the base nonce XOR the
     * chunk's number, big-endian.
     *
     * @throws RedoubtException {@code sealed.chunk}: decrypting, the tag does not verify; what {@code out} was given is zero
     */
    int apply(Cipher cipher, int mode, long chunk, byte[] in, int offset, int length, byte[] out, int outOffset)
            throws RedoubtException {
        byte[] nonce = baseNonce.clone();
        ByteBuffer tail = ByteBuffer.wrap(nonce);
        int at = NONCE_BYTES - Long.BYTES;
        tail.putLong(at, tail.getLong(at) ^ chunk);
        try {
            cipher.init(mode, key, new GCMParameterSpec(BodyGeometry.TAG * Byte.SIZE, nonce));
            return cipher.doFinal(in, offset, length, out, outOffset);
        } catch (AEADBadTagException e) {
            Arrays.fill(out, outOffset, outOffset + length - BodyGeometry.TAG, (byte) 0);
            throw new RedoubtException(ErrorCode.CHUNK_TAMPERED, "chunk " + chunk + " fails authentication");
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM refuses a chunk", e);
        }
    }
}
