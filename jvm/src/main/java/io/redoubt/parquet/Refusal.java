package io.redoubt.parquet;

import io.redoubt.RedoubtException;
import java.io.IOException;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;

/** The form in which parquet-mr's interfaces let a refusal out. */
final class Refusal {
    private Refusal() {}

    /** Returns the exception as one that parquet-mr's interfaces may throw, with the same text. */
    static ParquetCryptoRuntimeException of(IOException e) {
        String text = e instanceof RedoubtException ? e.getMessage() : "the sealed table cannot be used: " + e.getMessage();
        return new ParquetCryptoRuntimeException(text, e);
    }
}
