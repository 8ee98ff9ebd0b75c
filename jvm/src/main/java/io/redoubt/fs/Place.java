package io.redoubt.fs;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import java.io.IOException;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Where a path lies: in a sealed dataset, in one of the folders that a dataset or Hadoop works in, or outside. */
final class Place {
    private enum Kind {
        OUTSIDE,
        RESERVED,
        SHOWN
    }

    private static final String TEMPORARY = "_temporary";
    private static final String STAGING = ".spark-staging-";

    private final FileSystem storage;
    private final Path path;
    private final Configuration configuration;
    private final Path root;
    private final Kind kind;
    private View view;

    private Place(FileSystem storage, Path path, Configuration configuration, Path root, Kind kind) {
        this.storage = storage;
        this.path = path;
        this.configuration = configuration;
        this.root = root;
        this.kind = kind;
    }

    /**
     * Finds the place of a qualified path. Reads no commit record yet.
     *
     * @throws RedoubtException {@code sealed.identity}: it lies in two datasets
     */
    static Place of(FileSystem storage, Path path, Configuration configuration) throws IOException {
        Optional<Path> root = Dataset.rootOf(storage, new Path(path, TEMPORARY));
        if (root.isEmpty()) {
            return new Place(storage, path, configuration, null, Kind.OUTSIDE);
        }
        String name = below(root.get(), path);
        boolean stored = isReserved(name) || ReadOptions.isPlanned(configuration, root.get(), name);
        return new Place(storage, path, configuration, root.get(), stored ? Kind.RESERVED : Kind.SHOWN);
    }

    /** Whether programs see the commit record's word here. */
    boolean isShown() {
        return kind == Kind.SHOWN;
    }

    /** Whether it is one of the folders that a dataset or Hadoop works in, which is as it is stored. */
    boolean isReserved() {
        return kind == Kind.RESERVED;
    }

    /** Whether it is the dataset itself. */
    boolean isRoot() {
        return kind == Kind.SHOWN && below(root, path).isEmpty();
    }

    /** What the commit record says of this path. */
    View view() throws IOException {
        if (view == null) {
            Dataset dataset = Dataset.containing(storage, new Path(root, TEMPORARY), configuration);
            ReadOptions.checkCommit(configuration, dataset);
            view = new View(storage, dataset, path, below(root, path));
        }
        return view;
    }

    /** Whether there is anything, listed or not. */
    boolean exists() throws IOException {
        return view().isListed() || storage.exists(path);
    }

    RedoubtException refused(String what) {
        return new RedoubtException(
                ErrorCode.OPTION_REFUSED, path + " lies in the sealed dataset " + root + " and cannot be " + what);
    }

    /**
     * Refuses to read what remains of a dataset without its commit records: a first write that has not ended, or a storage that
     * removed them. Read as an ordinary folder it would be empty. A read that means one commit reads no ordinary folder at all.
     *
     * @throws RedoubtException {@code sealed.no_commit}, {@code sealed.commit_unexpected}
     */
    void refuseRemains() throws IOException {
        if (kind != Kind.OUTSIDE || isReserved(path.toUri().getPath().substring(1))) {
            return;
        }
        if (!configuration.getTrimmed(ReadOptions.COMMIT, "").isEmpty()) {
            throw new RedoubtException(
                    ErrorCode.COMMIT_UNEXPECTED, path + " lies in no sealed dataset, and the read expects a commit of one");
        }
        for (Path folder = path; folder != null; folder = folder.getParent()) {
            if (storage.exists(new Path(folder, "_keys"))) {
                throw new RedoubtException(
                        ErrorCode.NO_COMMIT, folder + " holds keys of a sealed dataset and no commit record");
            }
        }
    }

    private static boolean isReserved(String name) {
        String[] segments = name.split("/");
        for (String segment : segments) {
            if (segment.equals(TEMPORARY) || segment.startsWith(STAGING)) {
                return true;
            }
        }
        return segments[0].equals("_commits") || segments[0].equals("_keys");
    }

    private static String below(Path root, Path path) {
        String base = root.toUri().getPath();
        String text = path.toUri().getPath();
        if (text.equals(base)) {
            return "";
        }
        return text.substring(base.endsWith("/") ? base.length() : base.length() + 1);
    }
}
