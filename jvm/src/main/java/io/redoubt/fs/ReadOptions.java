package io.redoubt.fs;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import io.redoubt.write.Paths;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** Options of a read that say which commit it means. */
public final class ReadOptions {
    /** Options of a planned read, whose driver took its files from a commit record: the dataset's folder and id. */
    public static final String ROOT = "redoubt.read.root";

    public static final String DATASET = "redoubt.read.dataset";

    /** Option of any read: the digest that the head commit must have. */
    public static final String COMMIT = "redoubt.read.commit";

    private ReadOptions() {}

    /** Whether a file belongs to a planned read, which goes on while the dataset is overwritten. */
    public static boolean isPlanned(Configuration configuration, Path root, String name) {
        String planned = configuration.getTrimmed(ROOT, "");
        return !planned.isEmpty()
                && new Path(planned).toUri().getPath().equals(root.toUri().getPath())
                && Paths.Managed.of(name).isPresent();
    }

    /**
     * Compares the head with the commit that a read means, if it says so.
     *
     * @throws RedoubtException {@code sealed.commit_unexpected}: it is another
     */
    public static void checkCommit(Configuration configuration, Dataset dataset) throws RedoubtException {
        String pinned = configuration.getTrimmed(COMMIT, "");
        if (!pinned.isEmpty() && !pinned.equals(dataset.commitDigest())) {
            throw new RedoubtException(
                    ErrorCode.COMMIT_UNEXPECTED,
                    "the head of " + dataset.root() + " is " + dataset.commitDigest() + ", expected " + pinned);
        }
    }
}
