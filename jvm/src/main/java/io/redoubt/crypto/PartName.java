package io.redoubt.crypto;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.text.Normalizer;

/** The rules for names of parts ({@code docs/format.md}, "Names"): relative POSIX paths with one spelling. */
public final class PartName {
    private static final int MAX_BYTES = 1024;

    private PartName() {}

    /**
     * Returns {@code name} if it is one.
     *
     * @throws RedoubtException {@code sealed.header}: it breaks a rule
     */
    public static String check(String name) throws RedoubtException {
        int length = utf8Length(name);
        if (length < 1 || length > MAX_BYTES) {
            throw invalid("has " + length + " bytes, not 1 to " + MAX_BYTES);
        }
        if (!Normalizer.isNormalized(name, Normalizer.Form.NFC)) {
            throw invalid("is not in Unicode form NFC");
        }
        if (name.indexOf('\\') >= 0 || name.codePoints().anyMatch(Character::isISOControl)) {
            throw invalid("holds a backslash or a control character");
        }
        for (String segment : name.split("/", -1)) {
            if (segment.isEmpty() || segment.equals(".") || segment.equals("..")) {
                throw invalid("is not a plain relative path");
            }
        }
        return name;
    }

    private static int utf8Length(String name) throws RedoubtException {
        try {
            return StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(name)).limit();
        } catch (CharacterCodingException e) {
            throw invalid("is not Unicode text");
        }
    }

    private static RedoubtException invalid(String why) {
        return new RedoubtException(ErrorCode.HEADER_INVALID, "a part name " + why);
    }
}
