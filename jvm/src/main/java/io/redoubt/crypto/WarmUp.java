package io.redoubt.crypto;

import io.redoubt.RedoubtException;
import javax.crypto.Cipher;

/**
 * Teaches the just-in-time compiler AES-GCM once in a JVM, beside the work. Java 17 uses the processor's instructions for
 * GHASH only in callers that C2 has compiled, which takes thousands of calls. Measured: without this, the first 56 MB of a JVM
 * are decrypted at 40 MB/s, that is for 1.3 s; with it, the full 1400 MB/s are reached after 0.1 to 0.3 s. Tiny messages under
 * a key of zeros count like whole chunks.
 */
final class WarmUp implements Runnable {
    private static final int CALLS = 20_000;
    private static final int MESSAGE_BYTES = 64;

    private WarmUp() {}

    static void start() {
        Thread thread = new Thread(new WarmUp(), "redoubt-warm-up");
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void run() {
        ChunkKey key = ChunkKey.derive(new byte[ChunkKey.DATA_KEY_BYTES], new byte[ChunkKey.SALT_BYTES], new byte[0]);
        Cipher cipher = ChunkKey.newCipher();
        byte[] plain = new byte[MESSAGE_BYTES];
        byte[] sealed = new byte[MESSAGE_BYTES + BodyGeometry.TAG];
        try {
            for (int chunk = 0; chunk < CALLS; chunk++) {
                key.apply(cipher, Cipher.ENCRYPT_MODE, chunk, plain, 0, plain.length, sealed, 0);
                key.apply(cipher, Cipher.DECRYPT_MODE, chunk, sealed, 0, sealed.length, plain, 0);
            }
        } catch (RedoubtException e) {
            throw new IllegalStateException("this Java runtime's AES-GCM does not open what it sealed", e);
        }
    }
}
