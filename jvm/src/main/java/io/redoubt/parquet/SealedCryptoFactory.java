package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.parquet.MasterKeyId.Label;
import io.redoubt.sealed.KeyFiles;
import io.redoubt.sealed.Storage;
import io.redoubt.write.Paths;
import io.redoubt.write.PlaintextOption;
import io.redoubt.write.WriteJob;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.crypto.ColumnEncryptionProperties;
import org.apache.parquet.crypto.DecryptionPropertiesFactory;
import org.apache.parquet.crypto.EncryptionPropertiesFactory;
import org.apache.parquet.crypto.FileDecryptionProperties;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;
import org.apache.parquet.hadoop.api.WriteSupport.WriteContext;
import org.apache.parquet.hadoop.metadata.ColumnPath;

/**
 * Parquet's crypto factory for sealed tables ({@code parquet.crypto.factory.class}).
 *
 * <p>It never returns the properties of a plaintext file, unless {@code redoubt.plaintext=allow} is an option of the read or write
 * and the file lies in no sealed dataset (hardening H1, H15). What is written is bound to its {@link PartIdentity}; what is read
 * must state, and be bound to, the identity that the commit record gives it. Footers are always encrypted, keys have 256 bits.
 */
public final class SealedCryptoFactory implements EncryptionPropertiesFactory, DecryptionPropertiesFactory {
    @Override
    public FileEncryptionProperties getFileEncryptionProperties(Configuration conf, Path file, WriteContext context)
            throws ParquetCryptoRuntimeException {
        try {
            if (PlaintextOption.chosen(conf)) {
                PlaintextOption.check(file, conf);
                return null;
            }
            return encryption(WriteJob.of(conf), file, context, conf);
        } catch (IOException e) {
            throw Refusal.of(e);
        }
    }

    @Override
    public FileDecryptionProperties getFileDecryptionProperties(Configuration conf, Path file)
            throws ParquetCryptoRuntimeException {
        try {
            if (PlaintextOption.chosen(conf)) {
                PlaintextOption.check(file, conf);
                return null;
            }
            HiddenErrors.refuse(conf);
            return decryption(file, conf);
        } catch (IOException e) {
            throw Refusal.of(e);
        }
    }

    private static FileEncryptionProperties encryption(
            WriteJob job, Path file, WriteContext context, Configuration conf) throws IOException {
        KeyFiles keys = new KeyFiles(Storage.of(job.root(), conf), job.root(), job.dataset());
        Algorithm algorithm = Algorithm.of(conf);
        String name = Paths.partName(job.prefix(), Paths.inOutput(file));
        byte[] footerDek = DekWrap.newDek();
        FileEncryptionProperties.Builder properties = FileEncryptionProperties.builder(footerDek)
                .withAlgorithm(algorithm.cipher())
                .withFooterKeyMetadata(material(footerDek, keys, job.dataKey(), Label.FOOTER, conf))
                .withAADPrefix(new PartIdentity(job.dataset(), job.commit(), algorithm, name).aadPrefix());
        if (!job.columnKeys().isEmpty()) {
            properties.withEncryptedColumns(columns(job, context, keys, conf)).withCompleteColumnEncryption();
        }
        return properties.build();
    }

    /** Gives each leaf column that is listed, or lies in a listed one, a key of its own. */
    private static Map<ColumnPath, ColumnEncryptionProperties> columns(
            WriteJob job, WriteContext context, KeyFiles keys, Configuration conf) throws IOException {
        Map<ColumnPath, ColumnEncryptionProperties> columns = new HashMap<>();
        Set<String> unknown = new HashSet<>(job.columnKeys().keySet());
        for (String[] segments : context.getSchema().getPaths()) {
            for (int end = segments.length; end > 0; end--) {
                String listed = String.join(".", Arrays.copyOf(segments, end));
                UUID dataKey = job.columnKeys().get(listed);
                if (dataKey != null) {
                    ColumnPath path = ColumnPath.get(segments);
                    byte[] dek = DekWrap.newDek();
                    columns.put(path, ColumnEncryptionProperties.builder(path)
                            .withKey(dek)
                            .withKeyMetaData(material(dek, keys, dataKey, Label.COLUMN, conf))
                            .build());
                    unknown.remove(listed);
                    break;
                }
            }
        }
        if (!unknown.isEmpty()) {
            throw new RedoubtException(
                    ErrorCode.OPTION_REFUSED,
                    "the files of the table have no column " + unknown + " (values of partition columns stand in folder names)");
        }
        return columns;
    }

    private static byte[] material(byte[] dek, KeyFiles keys, UUID dataKey, Label label, Configuration conf)
            throws IOException {
        MasterKeyId id = new MasterKeyId(keys.dataset(), dataKey, label);
        return new KeyMaterial(id, DekWrap.wrap(dek, keys.dataKey(dataKey, conf), id)).encode();
    }

    private static FileDecryptionProperties decryption(Path file, Configuration conf) throws IOException {
        FileSystem fileSystem = Storage.of(file, conf);
        ExpectedPart expected = ExpectedPart.of(fileSystem, file, conf);
        byte[] prefix = expected.identity().aadPrefix();
        KeyFiles keys = new KeyFiles(fileSystem, expected.root(), expected.identity().dataset());
        return FileDecryptionProperties.builder()
                .withKeyRetriever(new TableKeyRetriever(keys, conf))
                .withAADPrefixVerifier(stated -> {
                    if (!Arrays.equals(prefix, stated)) {
                        throw Refusal.of(new RedoubtException(
                                ErrorCode.IDENTITY_MISMATCH,
                                "the file at " + expected.identity().name() + " is another part than the one of that name"));
                    }
                })
                .build();
    }
}
