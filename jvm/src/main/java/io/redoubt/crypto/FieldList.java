package io.redoubt.crypto;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** The canonical encoding of a list of byte strings ({@code docs/format.md}, "Field lists"). */
public final class FieldList {
    private FieldList() {}

    /** Returns the encoding of the fields in the given order. */
    public static byte[] encode(List<byte[]> fields) {
        int length = 0;
        for (byte[] field : fields) {
            length = Math.addExact(length, Math.addExact(field.length, Integer.BYTES));
        }
        ByteBuffer out = ByteBuffer.allocate(length);
        for (byte[] field : fields) {
            out.putInt(field.length).put(field);
        }
        return out.array();
    }

    /**
     * Returns exactly {@code count} fields; {@code what} names the record in errors.
     *
     * @throws RedoubtException {@code sealed.header}: fewer or more fields, or bytes after the last one
     */
    public static List<byte[]> decode(byte[] data, int count, String what) throws RedoubtException {
        ByteBuffer in = ByteBuffer.wrap(data);
        List<byte[]> fields = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            if (in.remaining() < Integer.BYTES) {
                throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " ends inside a field length");
            }
            int length = in.getInt();
            if (length < 0 || length > in.remaining()) {
                throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " ends inside a field");
            }
            byte[] field = new byte[length];
            in.get(field);
            fields.add(field);
        }
        if (in.hasRemaining()) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " has bytes after its last field");
        }
        return fields;
    }
}
