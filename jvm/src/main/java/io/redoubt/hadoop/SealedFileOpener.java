package io.redoubt.hadoop;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyGeometry;
import io.redoubt.crypto.Header;
import io.redoubt.keys.DataKey;
import io.redoubt.keys.EndpointClient;
import io.redoubt.sealed.ChunkReader;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.Part;
import io.redoubt.sealed.StandalonePreamble;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Optional;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.Seekable;

/**
 * Opens a sealed file that a codec is given as a stream from its first byte on. Checks everything that can be seen from there:
 *
 * <ul>
 *   <li>a standalone file opens with the key in its own slots;
 *   <li>a part opens only where the task's path leads to a dataset whose head commit lists exactly this file there;
 *   <li>in the place of a part ({@code data/<commit id>/…} of a dataset) nothing but the listed file opens;
 *   <li>where the path is known, the file's length is authenticated before anything is read (hardening H27).
 * </ul>
 */
final class SealedFileOpener {
    private static final Pattern PLACE_OF_PART =
            Pattern.compile(".*/data/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.+", Pattern.DOTALL);

    private final Configuration configuration;
    private final InputStream in;
    private final Optional<TaskFile> file;

    SealedFileOpener(Configuration configuration, InputStream in) throws IOException {
        this.configuration = configuration;
        this.in = in;
        this.file = TaskFile.current(configuration);
    }

    /** Opens the file; the reader stands at the first chunk. */
    ChunkReader open() throws IOException {
        byte[] fixed = in.readNBytes(Header.FIXED_BYTES);
        int length = Header.lengthOf(fixed);
        byte[] context = complete(fixed, length);
        Header header = Header.parse(context);
        return switch (header.purpose()) {
            case STANDALONE -> openStandalone(header, context);
            case PART -> openPart(header, context);
            case COMMIT -> throw new RedoubtException(
                    ErrorCode.IDENTITY_MISMATCH, "the file is a commit record, not data");
        };
    }

    private ChunkReader openStandalone(Header header, byte[] context) throws IOException {
        StandalonePreamble preamble = StandalonePreamble.parse(complete(context, StandalonePreamble.BYTES));
        Optional<Part> part = listedHere();
        if (part.isPresent()) {
            part.get().checkHeader(header);
        }
        DataKey key = EndpointClient.of(configuration).unwrap(preamble.wrappedKey());
        return openBody(key, context, StandalonePreamble.BYTES, part);
    }

    private ChunkReader openPart(Header header, byte[] context) throws IOException {
        if (file.isEmpty()) {
            throw new RedoubtException(
                    ErrorCode.IDENTITY_MISMATCH,
                    "part " + header.partName() + " is read through a reader that does not tell the codec which file it reads,"
                            + " so it cannot be checked against its commit; use the sealed Data Source, or a standalone file");
        }
        Dataset dataset = Dataset.containing(file.get().fileSystem(), file.get().path(), configuration);
        Part part = dataset.part(file.get().path());
        part.checkHeader(header);
        return openBody(dataset.key(part.key(), configuration), context, context.length, Optional.of(part));
    }

    /** What the dataset lists about the task's file, if that stands where parts stand. */
    private Optional<Part> listedHere() throws IOException {
        if (file.isEmpty() || !PLACE_OF_PART.matcher(file.get().path().toUri().getPath()).matches()) {
            return Optional.empty();
        }
        Path path = file.get().path();
        if (Dataset.rootOf(file.get().fileSystem(), path).isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(
                Dataset.containing(file.get().fileSystem(), path, configuration).part(path));
    }

    private ChunkReader openBody(DataKey key, byte[] context, int bodyOffset, Optional<Part> part) throws IOException {
        byte[] prefix = in.readNBytes(BodyGeometry.PREFIX);
        Optional<BodyGeometry> geometry = Optional.empty();
        if (file.isPresent()) {
            long length = file.get().status().getLen();
            if (part.isPresent()) {
                part.get().checkLength(length);
                part.get().checkPrefix(prefix);
            }
            geometry = Optional.of(BodyGeometry.of(length - bodyOffset));
        }
        ChunkReader chunks = new ChunkReader(in, key.openBody(context, prefix), bodyOffset, geometry);
        if (in instanceof Seekable) {
            chunks.checkEnd();
        }
        return chunks;
    }

    /** Returns {@code start} with the bytes that follow it, up to {@code length} in all. */
    private byte[] complete(byte[] start, int length) throws IOException {
        byte[] whole = Arrays.copyOf(start, length);
        int read = in.readNBytes(whole, start.length, length - start.length);
        return read == length - start.length ? whole : Arrays.copyOf(whole, start.length + read);
    }
}
