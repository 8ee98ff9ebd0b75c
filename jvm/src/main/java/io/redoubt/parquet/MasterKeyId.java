package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.FieldList;
import io.redoubt.crypto.Texts;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What Parquet's key tools call the id of a master key, here {@code <dataset id>/<data key id>/<label>}: which data key wraps a
 * file's keys, and for what.
 */
record MasterKeyId(UUID dataset, UUID dataKey, Label label) {
    /** What the wrapped key encrypts: the footer with every column that has no key of its own, or one column. */
    enum Label {
        FOOTER,
        COLUMN;

        String text() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private static final String UUID_TEXT = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})";
    private static final Pattern TEXT = Pattern.compile(UUID_TEXT + "/" + UUID_TEXT + "/(footer|column)");
    private static final byte[] CONTEXT = "redoubt/parquet-dek/v1".getBytes(StandardCharsets.US_ASCII);

    /**
     * Parses an id.
     *
     * @throws RedoubtException {@code key.invalid}: it is none
     */
    static MasterKeyId parse(String text) throws RedoubtException {
        Matcher match = TEXT.matcher(text);
        if (!match.matches()) {
            throw new RedoubtException(ErrorCode.KEY_INVALID, "the file names a master key that is none of Redoubt's");
        }
        Label label = Label.valueOf(match.group(3).toUpperCase(Locale.ROOT));
        return new MasterKeyId(UUID.fromString(match.group(1)), UUID.fromString(match.group(2)), label);
    }

    /** Returns what a wrap under this key authenticates. */
    byte[] context() {
        return FieldList.encode(List.of(
                CONTEXT, Texts.bytes(dataset), Texts.bytes(dataKey), label.text().getBytes(StandardCharsets.US_ASCII)));
    }

    @Override
    public String toString() {
        return dataset + "/" + dataKey + "/" + label.text();
    }
}
