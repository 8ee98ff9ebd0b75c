package io.redoubt.parquet;

import io.redoubt.RedoubtException;
import java.io.IOException;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;

/** Codes of what only Parquet tables refuse, and the form in which parquet-mr's interfaces let a refusal out. */
final class Refusal {
    static final String PLAINTEXT = "sealed.plaintext";
    static final String PART_MISSING = "sealed.part_missing";
    static final String COMMIT_UNEXPECTED = "sealed.commit_unexpected";
    static final String CONFLICT = "sealed.conflict";
    static final String KEY_CONTEXT = "key.context";

    private Refusal() {}

    /** Returns the exception as one that parquet-mr's interfaces may throw, with the same text. */
    static ParquetCryptoRuntimeException of(IOException e) {
        String text = e instanceof RedoubtException ? e.getMessage() : "the sealed table cannot be used: " + e.getMessage();
        return new ParquetCryptoRuntimeException(text, e);
    }
}
