package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.WrappedKey;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.NavigableSet;
import java.util.UUID;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Reads the wrapped data keys beside a dataset, {@code _keys/<data key id>/<generation>}: the highest generation counts. */
final class KeyFiles {
    /** A re-wrap may remove the file found between listing and reading; it leaves a higher generation. */
    private static final int ATTEMPTS = 5;

    private final FileSystem fileSystem;
    private final Path folder;

    KeyFiles(FileSystem fileSystem, Path dataset) {
        this.fileSystem = fileSystem;
        this.folder = new Path(dataset, "_keys");
    }

    /**
     * Returns the wrapped data key of this id.
     *
     * @throws RedoubtException {@code sealed.key_file}: there is none
     */
    WrappedKey read(UUID dataKey) throws IOException {
        Path generations = new Path(folder, dataKey.toString());
        RedoubtException missing =
                new RedoubtException(ErrorCode.KEY_FILE_MISSING, "the dataset lacks the key file of data key " + dataKey);
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            try {
                NavigableSet<Long> numbers = NumberedFiles.list(fileSystem, generations);
                if (numbers.isEmpty()) {
                    continue; // a listing that runs while a re-wrap replaces the file may show neither
                }
                Path file = NumberedFiles.path(generations, numbers.last());
                return WrappedKey.decode(NumberedFiles.read(fileSystem, file, WrappedKey.MAX_BYTES));
            } catch (FileNotFoundException e) {
                missing.addSuppressed(e);
            }
        }
        throw missing;
    }
}
