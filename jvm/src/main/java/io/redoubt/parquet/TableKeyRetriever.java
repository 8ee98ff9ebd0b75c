package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.KeyFiles;
import java.io.IOException;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.crypto.DecryptionKeyRetriever;
import org.apache.parquet.crypto.KeyAccessDeniedException;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;

/**
 * Finds the keys of one file. A primary key that the reader may not use is {@link KeyAccessDeniedException}, on which parquet-mr
 * hides the columns under it and reads the others; everything else refuses the file.
 */
final class TableKeyRetriever implements DecryptionKeyRetriever {
    /** What says that the key's owner does not give it to this reader; a key that was tampered with is no such thing. */
    private static final Set<String> DENIED =
            Set.of("key.unknown", "key.disabled", "key.destroyed", "key.namespace", "endpoint.refused");

    private final KeyFiles keys;
    private final Configuration configuration;

    TableKeyRetriever(KeyFiles keys, Configuration configuration) {
        this.keys = keys;
        this.configuration = configuration;
    }

    @Override
    public byte[] getKey(byte[] keyMetadata) throws KeyAccessDeniedException, ParquetCryptoRuntimeException {
        try {
            KeyMaterial material = KeyMaterial.parse(keyMetadata);
            MasterKeyId id = material.id();
            if (!id.dataset().equals(keys.dataset())) {
                throw new RedoubtException(ErrorCode.IDENTITY_MISMATCH, "the file's keys belong to another dataset");
            }
            return DekWrap.unwrap(material.wrappedDek(), keys.dataKey(id.dataKey(), configuration), id);
        } catch (RedoubtException e) {
            if (DENIED.contains(e.code())) {
                throw new KeyAccessDeniedException(e.getMessage(), e);
            }
            throw Refusal.of(e);
        } catch (IOException e) {
            throw Refusal.of(e);
        }
    }
}
