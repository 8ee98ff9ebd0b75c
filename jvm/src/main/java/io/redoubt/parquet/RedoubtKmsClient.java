package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.DataKey;
import io.redoubt.sealed.KeyFiles;
import io.redoubt.sealed.Storage;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.crypto.KeyAccessDeniedException;
import org.apache.parquet.crypto.keytools.KmsClient;

/**
 * Redoubt's data keys for Parquet's own key tools ({@code parquet.encryption.kms.client.class}). Master keys are named {@code
 * <dataset id>/<data key id>/footer} or {@code …/column}; {@value #ROOT} names the dataset whose key files hold them.
 *
 * <p>Sealed tables need {@link SealedCryptoFactory}: the tools' own factory checks no identity and allows plaintext files. The
 * KMS instance and its URL, which the tools read from the file, are ignored, and so is the access token.
 */
public final class RedoubtKmsClient implements KmsClient {
    /** Configuration key: the folder of the dataset. */
    public static final String ROOT = "redoubt.kms.root";

    private Configuration configuration;

    @Override
    public void initialize(Configuration conf, String kmsInstanceId, String kmsInstanceUrl, String accessToken) {
        this.configuration = conf;
    }

    @Override
    public String wrapKey(byte[] key, String masterKeyIdentifier) throws KeyAccessDeniedException {
        try {
            if (key.length != DekWrap.DEK_BYTES) {
                throw new RedoubtException(
                        ErrorCode.OPTION_REFUSED, "parquet.encryption.data.key.length.bits must be 256, without double wrapping");
            }
            MasterKeyId id = MasterKeyId.parse(masterKeyIdentifier);
            return DekWrap.wrap(key, dataKey(id), id);
        } catch (IOException e) {
            throw new KeyAccessDeniedException(e.getMessage(), e);
        }
    }

    @Override
    public byte[] unwrapKey(String wrappedKey, String masterKeyIdentifier) throws KeyAccessDeniedException {
        try {
            MasterKeyId id = MasterKeyId.parse(masterKeyIdentifier);
            return DekWrap.unwrap(wrappedKey, dataKey(id), id);
        } catch (IOException e) {
            throw new KeyAccessDeniedException(e.getMessage(), e);
        }
    }

    private DataKey dataKey(MasterKeyId id) throws IOException {
        String folder = configuration.getTrimmed(ROOT, "");
        if (folder.isEmpty()) {
            throw new RedoubtException(ErrorCode.OPTION_REFUSED, ROOT + " is not set");
        }
        Path root = new Path(folder);
        return new KeyFiles(Storage.of(root, configuration), root, id.dataset()).dataKey(id.dataKey(), configuration);
    }
}
