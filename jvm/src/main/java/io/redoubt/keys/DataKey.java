package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyEncryptor;
import io.redoubt.crypto.BodyKey;
import io.redoubt.crypto.Subkey;
import java.io.IOException;
import java.io.OutputStream;
import java.util.List;
import java.util.UUID;

/**
 * An unwrapped data key in memory. It gives what is derived from its secret and never the secret; it cannot be serialised
 * and prints without the secret.
 */
public final class DataKey {
    private static final int BYTES = 32;

    private final UUID id;
    private final byte[] secret;

    DataKey(UUID id, byte[] secret) throws RedoubtException {
        if (secret.length != BYTES) {
            throw new RedoubtException(ErrorCode.KEY_INVALID, "data key " + id + " does not have " + BYTES + " bytes");
        }
        this.id = id;
        this.secret = secret.clone();
    }

    /** The data key's id, which headers name. */
    public UUID id() {
        return id;
    }

    /** Opens the body with this header and 56-byte prefix; {@link BodyKey#open} says how it refuses. */
    public BodyKey openBody(byte[] header, byte[] prefix) throws RedoubtException {
        return BodyKey.open(secret, header, prefix);
    }

    /** Starts the body of a file with this header. */
    public BodyEncryptor newBody(byte[] header, OutputStream out) throws IOException {
        return new BodyEncryptor(secret, header, out);
    }

    /** Returns the 32-byte key for another use than bodies. */
    public byte[] subkey(String label, List<byte[]> fields) {
        return Subkey.derive(secret, label, fields);
    }

    @Override
    public String toString() {
        return "DataKey[id=" + id + ", secret=…]";
    }
}
