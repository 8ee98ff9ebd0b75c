package io.redoubt.write;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyEncryptor;
import io.redoubt.crypto.BodyGeometry;
import io.redoubt.crypto.Header;
import io.redoubt.keys.DataKey;
import io.redoubt.sealed.KeyFiles;
import io.redoubt.sealed.Part;
import io.redoubt.sealed.Storage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Writes one part: takes plaintext, stores header and body, and hashes what it stores. A part counts when it was closed and is
 * durable; one that was not reads as truncated, and its attempt cannot commit.
 */
public final class PartOutputStream extends OutputStream {
    private final TaskFolder folder;
    private final Path stored;
    private final Header header;
    private final Hashed hashed;
    private final BodyEncryptor body;
    private boolean closed;

    private PartOutputStream(TaskFolder folder, Path stored, Header header, Hashed hashed, BodyEncryptor body) {
        this.folder = folder;
        this.stored = stored;
        this.header = header;
        this.hashed = hashed;
        this.body = body;
    }

    /**
     * Begins a part of the write that the configuration carries.
     *
     * @param file a path in a task's folder
     * @throws RedoubtException {@code sealed.plaintext}: the configuration carries no write, or another one; {@code key.*}, {@code
     *     endpoint.*}: its key is not released
     */
    public static PartOutputStream create(TaskFolder folder, Path file, boolean overwrite, Configuration conf)
            throws IOException {
        WriteJob job = WriteJob.of(conf);
        if (job.kind() != Part.Kind.PART
                || !job.commit().equals(folder.commit())
                || !job.root().toUri().getPath().equals(folder.root().toUri().getPath())) {
            throw new RedoubtException(ErrorCode.PLAINTEXT, file + " belongs to no sealed write of this job");
        }
        FileSystem storage = Storage.of(file, conf);
        DataKey key = new KeyFiles(storage, job.root(), job.dataset()).dataKey(job.dataKey(), conf);
        String name = folder.partName(file);
        String mediaType = MediaTypes.of(file.getName());
        Header header = new Header(Header.Purpose.PART, key.id(), job.dataset(), job.commit(), name, mediaType);
        byte[] context = header.encode();
        Path stored = folder.stored(file);
        TaskOutput.begun(folder, stored);
        Hashed hashed = new Hashed(storage.create(stored, overwrite), context.length + BodyGeometry.PREFIX);
        try {
            hashed.write(context, 0, context.length);
            return new PartOutputStream(folder, stored, header, hashed, key.newBody(context, hashed));
        } catch (IOException | RuntimeException e) {
            hashed.close();
            throw e;
        }
    }

    @Override
    public void write(int value) throws IOException {
        write(new byte[] {(byte) value}, 0, 1);
    }

    @Override
    public void write(byte[] data, int offset, int length) throws IOException {
        body.write(data, offset, length);
    }

    @Override
    public void close() throws IOException {
        if (closed) {
            return;
        }
        closed = true;
        try (hashed) {
            body.finish();
            hashed.out.hsync();
        }
        TaskOutput.finished(folder, stored, hashed.part(header));
    }

    /** Counts and hashes the bytes of the file, and keeps the first of them. */
    private static final class Hashed extends OutputStream {
        private final FSDataOutputStream out;
        private final MessageDigest digest = sha256();
        private final int kept;
        private final ByteArrayOutputStream start = new ByteArrayOutputStream();
        private long length;

        Hashed(FSDataOutputStream out, int kept) {
            this.out = out;
            this.kept = kept;
        }

        @Override
        public void write(int value) throws IOException {
            write(new byte[] {(byte) value}, 0, 1);
        }

        @Override
        public void write(byte[] data, int offset, int count) throws IOException {
            out.write(data, offset, count);
            digest.update(data, offset, count);
            length += count;
            if (start.size() < kept) {
                start.write(data, offset, Math.min(count, kept - start.size()));
            }
        }

        @Override
        public void close() throws IOException {
            out.close();
        }

        WrittenPart part(Header header) {
            HexFormat hex = HexFormat.of();
            String prefix = hex.formatHex(start.toByteArray(), kept - BodyGeometry.PREFIX, kept);
            return new WrittenPart(header.partName(), length, prefix, hex.formatHex(digest.digest()), header.mediaType());
        }

        private static MessageDigest sha256() {
            try {
                return MessageDigest.getInstance("SHA-256");
            } catch (NoSuchAlgorithmException e) {
                throw new IllegalStateException("this Java runtime lacks SHA-256", e);
            }
        }
    }
}
