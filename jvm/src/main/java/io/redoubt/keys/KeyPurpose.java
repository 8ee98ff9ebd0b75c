package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.util.Locale;

/** What a data key may be used for; a key wrapped for one purpose is refused for another. */
public enum KeyPurpose {
    DATA,
    MODEL,
    CHECKPOINT;

    /** The spelling in records and messages. */
    public String text() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** The purpose that is spelled so. */
    static KeyPurpose of(String text) throws RedoubtException {
        for (KeyPurpose purpose : values()) {
            if (purpose.text().equals(text)) {
                return purpose;
            }
        }
        throw new RedoubtException(ErrorCode.HEADER_INVALID, "a wrapped-key record has an unknown purpose");
    }
}
