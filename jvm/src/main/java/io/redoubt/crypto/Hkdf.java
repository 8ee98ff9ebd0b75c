package io.redoubt.crypto;

import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** HKDF-Expand with SHA-512 (RFC 5869, section 2.3). */
final class Hkdf {
    private static final String MAC = "HmacSHA512";
    private static final int HASH_BYTES = 64;

    private Hkdf() {}

    /** Returns {@code length} bytes (at most 255 hashes) expanded from the uniformly random {@code key}. */
    static byte[] expand(byte[] key, byte[] info, int length) {
        try {
            Mac mac = Mac.getInstance(MAC);
            mac.init(new SecretKeySpec(key, MAC));
            byte[] out = new byte[length];
            byte[] block = new byte[0];
            for (int done = 0, counter = 1; done < length; done += HASH_BYTES, counter++) {
                mac.update(block);
                mac.update(info);
                mac.update((byte) counter);
                block = mac.doFinal();
                System.arraycopy(block, 0, out, done, Math.min(HASH_BYTES, length - done));
            }
            Arrays.fill(block, (byte) 0);
            return out;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java runtime lacks " + MAC, e);
        }
    }
}
