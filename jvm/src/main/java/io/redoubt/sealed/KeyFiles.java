package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.DataKey;
import io.redoubt.keys.EndpointClient;
import io.redoubt.keys.WrappedKey;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.NavigableSet;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The data keys of one dataset, wrapped in key files beside it, {@code _keys/<data key id>/<generation>}: the highest
 * generation counts. It needs no commit record: a first write uses keys before there is one.
 */
public final class KeyFiles {
    /** A re-wrap may remove the file found between listing and reading; it leaves a higher generation. */
    private static final int ATTEMPTS = 5;

    private final FileSystem fileSystem;
    private final Path root;
    private final UUID dataset;

    /** The key files of the dataset {@code dataset} at {@code root}. */
    public KeyFiles(FileSystem fileSystem, Path root, UUID dataset) {
        this.fileSystem = fileSystem;
        this.root = root;
        this.dataset = dataset;
    }

    /** The id of the dataset. */
    public UUID dataset() {
        return dataset;
    }

    /**
     * Returns a data key of this dataset, unwrapped by the job's key endpoint.
     *
     * @throws RedoubtException {@code sealed.key_file}: no key file; {@code key.*}, {@code endpoint.*}: it is not released
     */
    public DataKey dataKey(UUID id, Configuration configuration) throws IOException {
        return EndpointClient.of(configuration).unwrap(read(id).expect(dataset, id));
    }

    /**
     * Makes a data key under a primary key (null: the default) and stores its key file.
     *
     * @return its id
     */
    public UUID create(String primaryKey, Configuration configuration) throws IOException {
        UUID id = UUID.randomUUID();
        WrappedKey wrapped =
                EndpointClient.of(configuration).newDataKey(primaryKey, dataset, id).wrapped();
        Path file = NumberedFiles.path(generations(id), 1);
        if (!NewFile.create(fileSystem, file, wrapped.encode())) {
            throw new IllegalStateException("the key file of a random id exists: " + file);
        }
        return id;
    }

    private WrappedKey read(UUID id) throws IOException {
        RedoubtException missing =
                new RedoubtException(ErrorCode.KEY_FILE_MISSING, root + " has no key file of data key " + id);
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            try {
                NavigableSet<Long> numbers = NumberedFiles.list(fileSystem, generations(id));
                if (numbers.isEmpty()) {
                    continue; // a listing that runs while a re-wrap replaces the file may show neither
                }
                Path file = NumberedFiles.path(generations(id), numbers.last());
                return WrappedKey.decode(NumberedFiles.read(fileSystem, file, WrappedKey.MAX_BYTES));
            } catch (FileNotFoundException e) {
                missing.addSuppressed(e);
            }
        }
        throw missing;
    }

    private Path generations(UUID id) {
        return new Path(new Path(root, "_keys"), id.toString());
    }
}
