package io.redoubt.crypto;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.UUID;

/** Fields of records as text and UUIDs, decoded strictly: what is not exactly one is an error, never a replacement. */
public final class Texts {
    private static final int UUID_BYTES = 16;

    private Texts() {}

    /** Returns the text of well-formed UTF-8; {@code what} names the field in errors. */
    public static String utf8(byte[] raw, String what) throws RedoubtException {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(raw)).toString();
        } catch (CharacterCodingException e) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " is not UTF-8");
        }
    }

    /** Returns the text of ASCII bytes; {@code what} names the field in errors. */
    public static String ascii(byte[] raw, String what) throws RedoubtException {
        for (byte b : raw) {
            if (b < 0) {
                throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " is not ASCII");
            }
        }
        return new String(raw, StandardCharsets.US_ASCII);
    }

    /** Returns the UUID of 16 raw bytes in network order; {@code what} names the field in errors. */
    public static UUID uuid(byte[] raw, String what) throws RedoubtException {
        if (raw.length != UUID_BYTES) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " is not a UUID of 16 bytes");
        }
        ByteBuffer in = ByteBuffer.wrap(raw);
        return new UUID(in.getLong(), in.getLong());
    }

    /** Returns the 16 raw bytes of a UUID in network order. */
    public static byte[] bytes(UUID id) {
        return ByteBuffer.allocate(UUID_BYTES)
                .putLong(id.getMostSignificantBits())
                .putLong(id.getLeastSignificantBits())
                .array();
    }
}
