package io.redoubt.fs;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.DatasetView;
import io.redoubt.sealed.DatasetView.Shown;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * What a commit record says of one path. Times are the commit's. What is stored there and not listed is refused, never passed
 * over: who asks for a name must not mistake another answer for "no such file".
 */
final class View {
    /** Programs look for it to learn that a job has ended; a commit record says just that. */
    private static final String SUCCESS = "_SUCCESS";

    private final FileSystem storage;
    private final Dataset dataset;
    private final Path path;
    private final String name;

    View(FileSystem storage, Dataset dataset, Path path, String name) {
        this.storage = storage;
        this.dataset = dataset;
        this.path = path;
        this.name = name;
    }

    Dataset dataset() {
        return dataset;
    }

    boolean isListed() throws RedoubtException {
        return dataset.view().file(name).isPresent() || dataset.view().folder(name).isPresent();
    }

    /** The name of the folder, if it is one that is shown in the dataset and not the dataset itself. */
    Optional<String> partitionFolder() throws RedoubtException {
        return dataset.view().isShownFolder(name) && !name.isEmpty() ? Optional.of(name) : Optional.empty();
    }

    /**
     * Returns the file.
     *
     * @throws RedoubtException {@code sealed.part_unlisted}
     */
    Shown file() throws IOException {
        Optional<Shown> file = dataset.view().file(name);
        if (file.isPresent()) {
            return file.get();
        }
        throw dataset.view().folder(name).isPresent() ? new FileNotFoundException(path + " is a folder") : unlisted();
    }

    /**
     * Returns the status of the file or folder. A folder that no part lies in may be about to get one, so it is there.
     *
     * @throws RedoubtException {@code sealed.part_unlisted}: a file that no commit lists
     */
    FileStatus status() throws IOException {
        if (isListed()) {
            return status(path, name);
        }
        if (name.equals(SUCCESS)) {
            return file(path, 0);
        }
        if (storage.exists(path) && storage.getFileStatus(path).isDirectory()) {
            return folder(path);
        }
        throw unlisted();
    }

    /** Returns what is in the folder, or the file itself. */
    FileStatus[] list() throws IOException {
        DatasetView view = dataset.view();
        Optional<Collection<String>> names = view.folder(name);
        if (view.file(name).isPresent()) {
            return new FileStatus[] {status(path, name)};
        }
        if (names.isEmpty()) {
            throw unlisted();
        }
        List<FileStatus> files = new ArrayList<>();
        for (String child : names.get()) {
            files.add(status(new Path(path, new Path(null, null, child)), name.isEmpty() ? child : name + "/" + child));
        }
        return files.toArray(FileStatus[]::new);
    }

    private FileStatus status(Path at, String of) throws RedoubtException {
        Optional<Shown> file = dataset.view().file(of);
        return file.isPresent() ? file(at, file.get().length()) : folder(at);
    }

    private FileStatus file(Path at, long length) {
        return new FileStatus(length, false, 1, storage.getDefaultBlockSize(at), time(), at);
    }

    private FileStatus folder(Path at) {
        return new FileStatus(0, true, 1, 0, time(), at);
    }

    private long time() {
        return Instant.parse(dataset.commit().created()).toEpochMilli();
    }

    private IOException unlisted() throws IOException {
        if (!storage.exists(path)) {
            return new FileNotFoundException(path + " is not in the sealed dataset " + dataset.root());
        }
        return new RedoubtException(
                ErrorCode.PART_UNLISTED,
                name + " is not listed in commit " + dataset.commit().number() + " of " + dataset.root());
    }
}
