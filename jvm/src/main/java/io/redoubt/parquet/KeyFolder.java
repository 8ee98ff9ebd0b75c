package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.DataKey;
import io.redoubt.keys.EndpointClient;
import io.redoubt.keys.WrappedKey;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Locale;
import java.util.Optional;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The data keys of one dataset, from the key files beside it. Unlike {@link io.redoubt.sealed.Dataset} it needs no commit
 * record: a first write uses keys before there is one.
 */
final class KeyFolder {
    /** A re-wrap may remove the file found between listing and reading; it leaves a higher generation. */
    private static final int ATTEMPTS = 3;

    private static final String NAME = "[0-9]{8}";

    private final FileSystem fileSystem;
    private final Path root;
    private final UUID dataset;

    KeyFolder(FileSystem fileSystem, Path root, UUID dataset) {
        this.fileSystem = fileSystem;
        this.root = root;
        this.dataset = dataset;
    }

    UUID dataset() {
        return dataset;
    }

    /**
     * Returns a data key of this dataset, unwrapped by the job's key endpoint.
     *
     * @throws RedoubtException {@code sealed.key_file}: no key file; {@code key.*}, {@code endpoint.*}: it is not released
     */
    DataKey dataKey(UUID id, Configuration configuration) throws IOException {
        return EndpointClient.of(configuration).unwrap(read(id).expect(dataset, id));
    }

    /** Makes a data key under a primary key (null: the default) and stores its key file. */
    UUID create(String primaryKey, Configuration configuration) throws IOException {
        UUID id = UUID.randomUUID();
        WrappedKey wrapped =
                EndpointClient.of(configuration).newDataKey(primaryKey, dataset, id).wrapped();
        Path file = new Path(folder(id), String.format(Locale.ROOT, "%08d", 1));
        if (!NewFile.create(fileSystem, file, wrapped.encode())) {
            throw new RedoubtException(Refusal.CONFLICT, "another writer made the key file " + file);
        }
        return id;
    }

    private WrappedKey read(UUID id) throws IOException {
        RedoubtException missing =
                new RedoubtException(ErrorCode.KEY_FILE_MISSING, root + " has no key file of data key " + id);
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            try {
                Optional<Path> newest = Arrays.stream(fileSystem.listStatus(folder(id)))
                        .map(FileStatus::getPath)
                        .filter(path -> path.getName().matches(NAME))
                        .max(Comparator.comparing(Path::getName));
                if (newest.isEmpty()) {
                    break;
                }
                try (InputStream in = fileSystem.open(newest.get())) {
                    return WrappedKey.decode(in.readNBytes(WrappedKey.MAX_BYTES + 1));
                }
            } catch (FileNotFoundException e) {
                missing.addSuppressed(e);
            }
        }
        throw missing;
    }

    private Path folder(UUID id) {
        return new Path(new Path(root, "_keys"), id.toString());
    }
}
