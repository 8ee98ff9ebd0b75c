package io.redoubt.fs;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyGeometry;
import io.redoubt.crypto.Header;
import io.redoubt.keys.DataKey;
import io.redoubt.keys.EndpointClient;
import io.redoubt.sealed.ChunkReader;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.DatasetView;
import io.redoubt.sealed.Part;
import io.redoubt.sealed.StandalonePreamble;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.Arrays;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Opens a part as its commit record lists it: the listed file of the listed length, or a refusal. */
final class PartOpener {
    private final FileSystem storage;
    private final Dataset dataset;
    private final Configuration configuration;

    PartOpener(FileSystem storage, Dataset dataset, Configuration configuration) {
        this.storage = storage;
        this.dataset = dataset;
        this.configuration = configuration;
    }

    /**
     * Opens a file as it is shown.
     *
     * @throws RedoubtException {@code sealed.part_missing}, {@code sealed.part_changed}, {@code sealed.identity}, {@code
     *     sealed.not_sealed} …: what is stored there is not the part; {@code key.*}, {@code endpoint.*}
     */
    FSDataInputStream open(DatasetView.Shown file, int bufferSize) throws IOException {
        Part part = file.part();
        Path path = dataset.fileOf(part);
        FSDataInputStream stored;
        long length;
        try {
            length = storage.getFileStatus(path).getLen();
            stored = storage.open(path, bufferSize);
        } catch (FileNotFoundException e) {
            throw new RedoubtException(
                    ErrorCode.PART_MISSING, "part " + part.name() + " of " + dataset.root() + " is missing");
        }
        try {
            byte[] context = part.kind() == Part.Kind.PARQUET ? new byte[0] : header(part, stored);
            part.checkLength(length);
            if (file.decrypted()) {
                return new FSDataInputStream(new PartInputStream(stored, body(part, context, stored), file.length()));
            }
            stored.seek(0);
            return stored;
        } catch (IOException | RuntimeException e) {
            stored.close();
            throw e;
        }
    }

    /** Reads the header and compares it with the one that the part must have. */
    private static byte[] header(Part part, FSDataInputStream in) throws IOException {
        byte[] fixed = in.readNBytes(Header.FIXED_BYTES);
        byte[] context = complete(in, fixed, Header.lengthOf(fixed));
        part.checkHeader(Header.parse(context));
        return context;
    }

    private ChunkReader body(Part part, byte[] context, FSDataInputStream in) throws IOException {
        DataKey key;
        int start = context.length;
        if (part.kind() == Part.Kind.STANDALONE) {
            start = StandalonePreamble.BYTES;
            StandalonePreamble preamble = StandalonePreamble.parse(complete(in, context, start));
            key = EndpointClient.of(configuration).unwrap(preamble.wrappedKey());
        } else {
            key = dataset.key(part.key(), configuration);
        }
        byte[] prefix = in.readNBytes(BodyGeometry.PREFIX);
        part.checkPrefix(prefix);
        BodyGeometry geometry = BodyGeometry.of(part.length() - start);
        return new ChunkReader(in, key.openBody(context, prefix), start, Optional.of(geometry));
    }

    private static byte[] complete(FSDataInputStream in, byte[] start, int length) throws IOException {
        byte[] whole = Arrays.copyOf(start, length);
        int read = in.readNBytes(whole, start.length, length - start.length);
        return Arrays.copyOf(whole, start.length + read);
    }
}
