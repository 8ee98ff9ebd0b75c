package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.crypto.ParquetCipher;
import org.apache.parquet.format.EncryptionAlgorithm;

/** The two algorithms of Parquet Modular Encryption. {@code GCM_CTR} leaves pages unauthenticated and must be asked for. */
enum Algorithm {
    GCM(ParquetCipher.AES_GCM_V1),
    GCM_CTR(ParquetCipher.AES_GCM_CTR_V1);

    /** Configuration key of a write: {@code AES_GCM_V1}, the default, or {@code AES_GCM_CTR_V1}. */
    static final String OPTION = "redoubt.parquet.algorithm";

    private final ParquetCipher cipher;

    Algorithm(ParquetCipher cipher) {
        this.cipher = cipher;
    }

    ParquetCipher cipher() {
        return cipher;
    }

    /** The name in Parquet's specification, which identities of parts hold. */
    String text() {
        return cipher.name();
    }

    /**
     * Returns the algorithm that a write asks for.
     *
     * @throws RedoubtException {@code spark.option}: there is none of that name
     */
    static Algorithm of(Configuration configuration) throws RedoubtException {
        String wanted = configuration.getTrimmed(OPTION, GCM.text());
        for (Algorithm algorithm : values()) {
            if (algorithm.text().equals(wanted)) {
                return algorithm;
            }
        }
        throw new RedoubtException(
                ErrorCode.OPTION_REFUSED, OPTION + "=" + wanted + ": known are " + GCM.text() + " and " + GCM_CTR.text());
    }

    static Algorithm of(EncryptionAlgorithm stated) {
        return stated.isSetAES_GCM_V1() ? GCM : GCM_CTR;
    }
}
