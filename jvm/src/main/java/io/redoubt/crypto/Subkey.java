package io.redoubt.crypto;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Keys for uses of a data key other than bodies ({@code docs/format.md}, "Other uses of a data key"). */
public final class Subkey {
    /** Every subkey has this length. */
    public static final int BYTES = 32;

    private static final byte[] LABEL = "redoubt/subkey/v1".getBytes(StandardCharsets.US_ASCII);

    private Subkey() {}

    /** Returns the key for one named use of {@code dataKey}, separated by {@code label} and {@code fields}. */
    public static byte[] derive(byte[] dataKey, String label, List<byte[]> fields) {
        List<byte[]> info = new ArrayList<>(List.of(LABEL, label.getBytes(StandardCharsets.UTF_8)));
        info.addAll(fields);
        return Hkdf.expand(dataKey, FieldList.encode(info), BYTES);
    }
}
