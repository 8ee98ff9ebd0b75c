package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.Header;
import io.redoubt.keys.KeySlots;
import io.redoubt.keys.WrappedKey;
import java.util.Arrays;

/** What stands before the body of a standalone sealed file: header, zero bytes, two key slots. */
public record StandalonePreamble(Header header, WrappedKey wrappedKey) {
    /** The length of every preamble. */
    public static final int BYTES = 8192;

    private static final int SLOTS_OFFSET = BYTES - KeySlots.BYTES;

    /**
     * Parses a preamble.
     *
     * @throws RedoubtException {@code sealed.header}, {@code sealed.slot}, {@code sealed.truncated}, or {@code sealed.identity}:
     *     not a standalone file, or the key of another one
     */
    public static StandalonePreamble parse(byte[] raw) throws RedoubtException {
        int length = Header.lengthOf(raw);
        Header header = Header.parse(Arrays.copyOf(raw, Math.min(length, raw.length)));
        if (header.purpose() != Header.Purpose.STANDALONE) {
            throw new RedoubtException(ErrorCode.IDENTITY_MISMATCH, "the file is not a standalone sealed file");
        }
        if (raw.length != BYTES) {
            throw new RedoubtException(ErrorCode.TRUNCATED, "the file ends before its body");
        }
        byte[] padding = new byte[SLOTS_OFFSET - length];
        if (!Arrays.equals(raw, length, SLOTS_OFFSET, padding, 0, padding.length)) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, "the padding after the header is not zero");
        }
        byte[] slots = Arrays.copyOfRange(raw, SLOTS_OFFSET, BYTES);
        return new StandalonePreamble(header, KeySlots.current(slots, header.datasetId(), header.dataKeyId()));
    }

    /** Returns the preamble of a new file. */
    public byte[] encode() throws RedoubtException {
        byte[] start = header.encode();
        byte[] raw = Arrays.copyOf(start, BYTES);
        System.arraycopy(KeySlots.create(wrappedKey), 0, raw, SLOTS_OFFSET, KeySlots.BYTES);
        return raw;
    }
}
