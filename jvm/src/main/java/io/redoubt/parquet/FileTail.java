package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.format.EncryptionAlgorithm;
import org.apache.parquet.format.FileCryptoMetaData;
import org.apache.parquet.format.Util;

/** What an encrypted Parquet file says of itself in clear, at its end. Nothing of it is authentic yet. */
record FileTail(Algorithm algorithm) {
    private static final byte[] MAGIC = "PARE".getBytes(StandardCharsets.US_ASCII);
    private static final int TRAILER_BYTES = 8;
    private static final int MAX_CRYPTO_METADATA_BYTES = 4096;

    /**
     * Reads a file's end.
     *
     * @throws RedoubtException {@code sealed.plaintext}: it is no encrypted Parquet file; {@code sealed.header}: malformed
     */
    static FileTail read(FileSystem fileSystem, Path file) throws IOException {
        long length = fileSystem.getFileStatus(file).getLen();
        if (length < MAGIC.length + TRAILER_BYTES) {
            throw plaintext(file);
        }
        try (FSDataInputStream in = fileSystem.open(file)) {
            byte[] trailer = new byte[TRAILER_BYTES];
            in.readFully(length - TRAILER_BYTES, trailer);
            if (!Arrays.equals(trailer, Integer.BYTES, TRAILER_BYTES, MAGIC, 0, MAGIC.length)) {
                throw plaintext(file);
            }
            long footer = Integer.toUnsignedLong(
                    ByteBuffer.wrap(trailer).order(ByteOrder.LITTLE_ENDIAN).getInt());
            long start = length - TRAILER_BYTES - footer;
            if (start < MAGIC.length) {
                throw new RedoubtException(ErrorCode.HEADER_INVALID, file + " states a footer longer than itself");
            }
            byte[] begin = new byte[(int) Math.min(footer, MAX_CRYPTO_METADATA_BYTES)];
            in.readFully(start, begin);
            return new FileTail(algorithm(begin, file));
        }
    }

    private static Algorithm algorithm(byte[] begin, Path file) throws RedoubtException {
        try {
            FileCryptoMetaData metadata = Util.readFileCryptoMetaData(new ByteArrayInputStream(begin));
            EncryptionAlgorithm stated = metadata.getEncryption_algorithm();
            return Algorithm.of(stated);
        } catch (IOException | RuntimeException e) {
            throw new RedoubtException(ErrorCode.HEADER_INVALID, file + " has malformed encryption metadata", e);
        }
    }

    private static RedoubtException plaintext(Path file) {
        return new RedoubtException(ErrorCode.PLAINTEXT, file + " does not end as an encrypted Parquet file");
    }
}
