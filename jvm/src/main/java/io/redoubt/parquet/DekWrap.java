package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.DataKey;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** The keys of Parquet files (DEKs): random, and wrapped by AES-256-GCM under a subkey of a data key. */
final class DekWrap {
    /** Every file and every column has a key of this length. */
    static final int DEK_BYTES = 32;

    private static final String SUBKEY = "parquet-key-wrap";
    private static final int NONCE_BYTES = 12;
    private static final int TAG_BYTES = 16;
    private static final SecureRandom RANDOM = new SecureRandom();

    private DekWrap() {}

    /** Returns a fresh key. */
    static byte[] newDek() {
        byte[] dek = new byte[DEK_BYTES];
        RANDOM.nextBytes(dek);
        return dek;
    }

    /** Returns base64 of nonce, ciphertext and tag of {@code dek}, bound to what {@code id} says. */
    static String wrap(byte[] dek, DataKey key, MasterKeyId id) {
        byte[] nonce = new byte[NONCE_BYTES];
        RANDOM.nextBytes(nonce);
        try {
            byte[] sealed = cipher(Cipher.ENCRYPT_MODE, key, nonce, id).doFinal(dek);
            byte[] wrapped = Arrays.copyOf(nonce, NONCE_BYTES + sealed.length);
            System.arraycopy(sealed, 0, wrapped, NONCE_BYTES, sealed.length);
            return Base64.getEncoder().encodeToString(wrapped);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java runtime lacks AES-256-GCM", e);
        }
    }

    /**
     * Returns the key that was wrapped.
     *
     * @throws RedoubtException {@code key.context}: changed, or wrapped for another dataset, data key or use
     */
    static byte[] unwrap(String text, DataKey key, MasterKeyId id) throws RedoubtException {
        try {
            byte[] wrapped = Base64.getDecoder().decode(text);
            if (wrapped.length == NONCE_BYTES + DEK_BYTES + TAG_BYTES) {
                byte[] nonce = Arrays.copyOf(wrapped, NONCE_BYTES);
                return cipher(Cipher.DECRYPT_MODE, key, nonce, id)
                        .doFinal(wrapped, NONCE_BYTES, DEK_BYTES + TAG_BYTES);
            }
        } catch (IllegalArgumentException | GeneralSecurityException e) {
            throw refused(id);
        }
        throw refused(id);
    }

    private static Cipher cipher(int mode, DataKey key, byte[] nonce, MasterKeyId id) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        SecretKeySpec wrapping = new SecretKeySpec(key.subkey(SUBKEY, List.of()), "AES");
        cipher.init(mode, wrapping, new GCMParameterSpec(TAG_BYTES * Byte.SIZE, nonce));
        cipher.updateAAD(id.context());
        return cipher;
    }

    private static RedoubtException refused(MasterKeyId id) {
        return new RedoubtException(ErrorCode.KEY_CONTEXT, "a Parquet file's wrapped key does not open as " + id);
    }
}
