package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;

/** The two generation-numbered key slots of a standalone file ({@code docs/format.md}, "Standalone sealed file"). */
public final class KeySlots {
    /** Both slots together. */
    public static final int BYTES = 4096;

    private static final int SLOT = BYTES / 2;
    private static final int DIGEST = 32;
    private static final int CONTENT = SLOT - DIGEST;
    private static final int RECORD = Long.BYTES + Short.BYTES;

    private record Slot(long generation, WrappedKey wrapped) {}

    private KeySlots() {}

    /**
     * Returns the wrapped key that counts, of the file with these ids.
     *
     * @throws RedoubtException {@code sealed.slot}: a slot is neither empty nor intact, both are empty, or equal generations;
     *     {@code sealed.identity}: a slot holds the key of another file
     */
    public static WrappedKey current(byte[] slots, UUID file, UUID dataKey) throws RedoubtException {
        if (slots.length != BYTES) {
            throw damaged("the key slots are cut off");
        }
        Optional<Slot> first = parse(slots, 0);
        Optional<Slot> second = parse(slots, 1);
        if (first.isEmpty() && second.isEmpty()) {
            throw damaged("both key slots are empty");
        }
        long one = first.map(Slot::generation).orElse(0L);
        long two = second.map(Slot::generation).orElse(0L);
        if (one == two) {
            throw damaged("both key slots have the same generation");
        }
        for (Slot slot : Stream.concat(first.stream(), second.stream()).toList()) {
            slot.wrapped().expect(file, dataKey);
        }
        return (Long.compareUnsigned(one, two) > 0 ? first : second).orElseThrow().wrapped();
    }

    /** Returns the slots of a new file: generation 1 in slot 0, slot 1 empty. */
    public static byte[] create(WrappedKey wrapped) {
        byte[] record = wrapped.encode();
        byte[] slots = new byte[BYTES];
        ByteBuffer.wrap(slots).putLong(1).putShort((short) record.length).put(record);
        System.arraycopy(digest(slots, 0), 0, slots, CONTENT, DIGEST);
        return slots;
    }

    private static Optional<Slot> parse(byte[] slots, int number) throws RedoubtException {
        int start = number * SLOT;
        if (isZero(slots, start, start + SLOT)) {
            return Optional.empty();
        }
        ByteBuffer in = ByteBuffer.wrap(slots, start, CONTENT);
        long generation = in.getLong();
        int length = Short.toUnsignedInt(in.getShort());
        int recordStart = start + RECORD;
        byte[] stated = Arrays.copyOfRange(slots, start + CONTENT, start + SLOT);
        if (length > CONTENT - RECORD
                || generation == 0
                || !isZero(slots, recordStart + length, start + CONTENT)
                || !MessageDigest.isEqual(digest(slots, start), stated)) {
            throw damaged("key slot " + number + " is neither empty nor intact");
        }
        try {
            byte[] record = Arrays.copyOfRange(slots, recordStart, recordStart + length);
            return Optional.of(new Slot(generation, WrappedKey.decode(record)));
        } catch (RedoubtException e) {
            throw damaged("key slot " + number + " holds no wrapped key: " + e.getMessage());
        }
    }

    private static boolean isZero(byte[] data, int from, int to) {
        return Arrays.equals(data, from, to, new byte[to - from], 0, to - from);
    }

    private static byte[] digest(byte[] slots, int start) {
        try {
            MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
            sha256.update(slots, start, CONTENT);
            return sha256.digest();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java runtime lacks SHA-256", e);
        }
    }

    private static RedoubtException damaged(String what) {
        return new RedoubtException(ErrorCode.SLOT_DAMAGED, what);
    }
}
