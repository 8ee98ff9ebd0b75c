package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.FieldList;
import io.redoubt.crypto.Texts;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.regex.Pattern;

/**
 * A data key encrypted by one version of a primary key ({@code docs/format.md}, "Wrapped keys"): the content of a key file
 * and of a key slot. {@code version} is unsigned.
 */
public record WrappedKey(
        UUID datasetId,
        UUID dataKeyId,
        KeyPurpose purpose,
        String key,
        int version,
        String mechanism,
        byte[] ciphertext) {
    /** No record is longer: it must fit a key slot. */
    public static final int MAX_BYTES = 1960;

    private static final byte[] LABEL = "redoubt/wrapped-key/v1".getBytes(StandardCharsets.US_ASCII);
    private static final int FIELDS = 8;
    private static final int MAX_CIPHERTEXT = 1536;
    private static final int MAX_KEY_NAME = 128;
    private static final String KEY_LABEL = "[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?";
    private static final Pattern KEY_NAME = Pattern.compile("key:" + KEY_LABEL + "/" + KEY_LABEL + "\\.(?:dev|hw)");

    /**
     * Parses a record.
     *
     * @throws RedoubtException {@code sealed.header}: it is not a canonical wrapped-key record
     */
    public static WrappedKey decode(byte[] record) throws RedoubtException {
        String what = "a wrapped-key record";
        if (record.length > MAX_BYTES) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " is longer than " + MAX_BYTES + " bytes");
        }
        List<byte[]> fields = FieldList.decode(record, FIELDS, what);
        String key = Texts.ascii(fields.get(4), what);
        byte[] version = fields.get(5);
        byte[] ciphertext = fields.get(7);
        if (!Arrays.equals(fields.get(0), LABEL)) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " has an unknown label");
        }
        if (version.length != Integer.BYTES || ciphertext.length > MAX_CIPHERTEXT) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " has a field of impossible length");
        }
        if (key.length() > MAX_KEY_NAME || !KEY_NAME.matcher(key).matches()) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, what + " has a malformed key name");
        }
        return new WrappedKey(
                Texts.uuid(fields.get(1), what),
                Texts.uuid(fields.get(2), what),
                KeyPurpose.of(Texts.ascii(fields.get(3), what)),
                key,
                ByteBuffer.wrap(version).getInt(),
                Texts.ascii(fields.get(6), what),
                ciphertext);
    }

    /** Returns the canonical record. */
    public byte[] encode() {
        return FieldList.encode(List.of(
                LABEL,
                Texts.bytes(datasetId),
                Texts.bytes(dataKeyId),
                purpose.text().getBytes(StandardCharsets.US_ASCII),
                key.getBytes(StandardCharsets.US_ASCII),
                ByteBuffer.allocate(Integer.BYTES).putInt(version).array(),
                mechanism.getBytes(StandardCharsets.US_ASCII),
                ciphertext));
    }

    /**
     * Returns this key if it was made for this data key of this dataset, to seal data.
     *
     * @throws RedoubtException {@code sealed.identity}: it was made for something else
     */
    public WrappedKey expect(UUID dataset, UUID dataKey) throws RedoubtException {
        if (!datasetId.equals(dataset) || !dataKeyId.equals(dataKey) || purpose != KeyPurpose.DATA) {
            throw new RedoubtException(
                    ErrorCode.IDENTITY_MISMATCH,
                    "the wrapped key is for data key " + dataKeyId + " of dataset " + datasetId + " (" + purpose.text()
                            + "), not for data key " + dataKey + " of dataset " + dataset + " (data)");
        }
        return this;
    }
}
