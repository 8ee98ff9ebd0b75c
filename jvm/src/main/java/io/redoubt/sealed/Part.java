package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.Header;
import java.util.HexFormat;
import java.util.Locale;
import java.util.UUID;

/**
 * A part as its commit record lists it ({@code docs/format.md}, "Commit record").
 *
 * @param name path relative to the dataset
 * @param commit id of the commit that wrote it
 * @param key id of its data key
 * @param owner dataset id that its own header states
 * @param length exact length of the file
 * @param prefix lower-case hex of the first 56 bytes of its body; empty for Parquet
 * @param sha256 lower-case hex SHA-256 of the file
 */
public record Part(
        String name,
        Kind kind,
        UUID commit,
        UUID key,
        UUID owner,
        long length,
        String prefix,
        String sha256,
        String mediaType) {
    /** How a part is sealed. */
    public enum Kind {
        PART,
        STANDALONE,
        PARQUET;

        String text() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * The header that the part must have.
     *
     * @throws RedoubtException {@code sealed.identity}: Parquet files have none
     */
    public Header header() throws RedoubtException {
        return switch (kind) {
            case PART -> new Header(Header.Purpose.PART, key, owner, commit, name, mediaType);
            case STANDALONE -> Header.standalone(key, owner, mediaType);
            case PARQUET -> throw new RedoubtException(
                    ErrorCode.IDENTITY_MISMATCH, "part " + name + " is listed as Parquet, which has no sealed header");
        };
    }

    /**
     * Compares a file's header with the one that the part must have.
     *
     * @throws RedoubtException {@code sealed.identity}: it is another file
     */
    public void checkHeader(Header found) throws RedoubtException {
        if (!found.equals(header())) {
            throw new RedoubtException(ErrorCode.IDENTITY_MISMATCH, "the file at " + name + " is not the part of that name");
        }
    }

    /**
     * Compares a file's length with the listed one.
     *
     * @throws RedoubtException {@code sealed.part_changed}: they differ
     */
    public void checkLength(long found) throws RedoubtException {
        if (found != length) {
            throw new RedoubtException(
                    ErrorCode.PART_CHANGED, "part " + name + " has " + found + " bytes, its commit lists " + length);
        }
    }

    /**
     * Compares the first 56 bytes of a file's body with the listed ones.
     *
     * @throws RedoubtException {@code sealed.part_changed}: they differ
     */
    public void checkPrefix(byte[] found) throws RedoubtException {
        if (!prefix.equals(HexFormat.of().formatHex(found))) {
            throw new RedoubtException(ErrorCode.PART_CHANGED, "part " + name + " has another body than its commit lists");
        }
    }
}
