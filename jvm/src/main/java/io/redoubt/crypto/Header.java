package io.redoubt.crypto;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.regex.Pattern;

/**
 * The header of a sealed file ({@code docs/format.md}, "Header"). Its exact bytes are the context of the body, so nothing
 * in it is outside authentication; a second spelling of the same header is an error.
 */
public record Header(
        Purpose purpose, UUID dataKeyId, UUID datasetId, UUID commitId, String partName, String mediaType) {

    /** What a sealed file is for. */
    public enum Purpose {
        PART,
        COMMIT,
        STANDALONE;

        private String text() {
            return name().toLowerCase(Locale.ROOT);
        }

        private static Purpose of(String text) throws RedoubtException {
            for (Purpose purpose : values()) {
                if (purpose.text().equals(text)) {
                    return purpose;
                }
            }
            throw invalid("has an unknown purpose");
        }
    }

    /** Bytes before the field list: magic, version, length. */
    public static final int FIXED_BYTES = 12;

    /** No header is longer. */
    public static final int MAX_BYTES = 2048;

    /** The absent commit of a standalone file. */
    public static final UUID NIL = new UUID(0, 0);

    private static final byte[] MAGIC = {(byte) 0x93, 'R', 'E', 'D', 'O', 'U', 'B', 'T'};
    private static final short VERSION = 1;
    private static final int FIELDS = 7;
    private static final int MAX_MEDIA_TYPE_BYTES = 127;
    private static final String COMPRESSION = "identity";
    private static final Pattern MEDIA_TYPE = Pattern.compile("[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*");

    /** The header of a new standalone file. */
    public static Header standalone(UUID dataKeyId, UUID fileId, String mediaType) {
        return new Header(Purpose.STANDALONE, dataKeyId, fileId, NIL, "", mediaType);
    }

    /**
     * Returns the length of the header that starts with these 12 bytes.
     *
     * @throws RedoubtException {@code sealed.not_sealed}, {@code sealed.version} or {@code sealed.header}
     */
    public static int lengthOf(byte[] fixed) throws RedoubtException {
        if (!Arrays.equals(MAGIC, Arrays.copyOf(fixed, MAGIC.length))) {
            throw new RedoubtException(ErrorCode.NOT_SEALED, "the file does not start with the mark of a sealed file");
        }
        if (fixed.length < FIXED_BYTES) {
            throw invalid("is cut off");
        }
        ByteBuffer in = ByteBuffer.wrap(fixed, MAGIC.length, FIXED_BYTES - MAGIC.length);
        int version = Short.toUnsignedInt(in.getShort());
        if (version != VERSION) {
            throw new RedoubtException(ErrorCode.FORMAT_UNKNOWN, "the file has format version " + version);
        }
        int length = FIXED_BYTES + Short.toUnsignedInt(in.getShort());
        if (length > MAX_BYTES) {
            throw invalid("states a length of " + length + " bytes");
        }
        return length;
    }

    /**
     * Parses a header that is exactly {@code raw}.
     *
     * @throws RedoubtException {@code sealed.not_sealed}, {@code sealed.version} or {@code sealed.header}
     */
    public static Header parse(byte[] raw) throws RedoubtException {
        if (lengthOf(raw) != raw.length) {
            throw invalid("is cut off");
        }
        String what = "a header";
        List<byte[]> fields = FieldList.decode(Arrays.copyOfRange(raw, FIXED_BYTES, raw.length), FIELDS, what);
        Header header = new Header(
                Purpose.of(Texts.ascii(fields.get(0), what)),
                Texts.uuid(fields.get(1), what),
                Texts.uuid(fields.get(2), what),
                Texts.uuid(fields.get(3), what),
                Texts.utf8(fields.get(4), what),
                Texts.ascii(fields.get(5), what));
        if (!Texts.ascii(fields.get(6), what).equals(COMPRESSION)) {
            throw invalid("names an unknown inner compression");
        }
        if (!Arrays.equals(header.encode(), raw)) {
            throw invalid("is not in its canonical encoding");
        }
        return header;
    }

    /**
     * Returns the canonical bytes, which are the context of the body.
     *
     * @throws RedoubtException {@code sealed.header}: a field breaks the rules of its purpose
     */
    public byte[] encode() throws RedoubtException {
        check();
        byte[] fields = FieldList.encode(List.of(
                purpose.text().getBytes(StandardCharsets.US_ASCII),
                Texts.bytes(dataKeyId),
                Texts.bytes(datasetId),
                Texts.bytes(commitId),
                partName.getBytes(StandardCharsets.UTF_8),
                mediaType.getBytes(StandardCharsets.US_ASCII),
                COMPRESSION.getBytes(StandardCharsets.US_ASCII)));
        return ByteBuffer.allocate(FIXED_BYTES + fields.length)
                .put(MAGIC)
                .putShort(VERSION)
                .putShort((short) fields.length)
                .put(fields)
                .array();
    }

    /**
     * Returns {@code mediaType} if it is a lower-case {@code type/subtype}.
     *
     * @throws RedoubtException {@code sealed.header}: it is not
     */
    public static String checkMediaType(String mediaType) throws RedoubtException {
        if (mediaType.length() > MAX_MEDIA_TYPE_BYTES || !MEDIA_TYPE.matcher(mediaType).matches()) {
            throw invalid("has a malformed media type");
        }
        return mediaType;
    }

    private void check() throws RedoubtException {
        checkMediaType(mediaType);
        if (purpose == Purpose.STANDALONE) {
            if (!commitId.equals(NIL) || !partName.isEmpty()) {
                throw invalid("of a standalone file names a commit or part");
            }
            return;
        }
        PartName.check(partName);
        if (commitId.equals(NIL)) {
            throw invalid("names no commit");
        }
    }

    private static RedoubtException invalid(String why) {
        return new RedoubtException(ErrorCode.HEADER_INVALID, "the header " + why);
    }
}
