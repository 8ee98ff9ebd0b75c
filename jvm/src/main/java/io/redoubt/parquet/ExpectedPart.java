package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.Part;
import java.io.IOException;
import java.util.Optional;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Which part a reader expects at a path.
 *
 * <p>A read that {@link SealedTables} planned names the dataset; its driver took the list of parts from the commit record, and a
 * part's name tells its commit. Any other read (an unmodified {@code spark.read.parquet}) chose its files by listing a folder:
 * then the head commit must list the file, with that length, and nothing that it lists may be missing.
 */
record ExpectedPart(Path root, PartIdentity identity) {
    /** Options of a planned read: the dataset's folder and id. */
    static final String ROOT = "redoubt.read.root";

    static final String DATASET = "redoubt.read.dataset";

    /** Option of any read: the digest that the head commit must have. */
    static final String COMMIT = "redoubt.read.commit";

    /**
     * Finds the part that belongs at {@code file}, and compares the file's length and end with it.
     *
     * @throws RedoubtException {@code sealed.*}: nothing belongs there, or something else lies there
     */
    static ExpectedPart of(FileSystem fileSystem, Path file, Configuration conf) throws IOException {
        String plannedRoot = conf.getTrimmed(ROOT, "");
        if (!plannedRoot.isEmpty()) {
            Path root = new Path(plannedRoot);
            String name = Paths.below(root, file);
            Optional<Paths.Managed> managed = Paths.Managed.of(name);
            if (managed.isPresent()) {
                UUID dataset = UUID.fromString(conf.getTrimmed(DATASET, ""));
                Algorithm algorithm = FileTail.read(fileSystem, file).algorithm();
                return new ExpectedPart(root, new PartIdentity(dataset, managed.get().commit(), algorithm, name));
            }
        }
        return listed(fileSystem, file, conf);
    }

    private static ExpectedPart listed(FileSystem fileSystem, Path file, Configuration conf) throws IOException {
        if (Dataset.rootOf(fileSystem, file).isEmpty()) {
            // A plaintext file says more than the lack of a commit record.
            FileTail.read(fileSystem, file);
        }
        Dataset dataset = Dataset.containing(fileSystem, file, conf);
        String pinned = conf.getTrimmed(COMMIT, "");
        if (!pinned.isEmpty() && !pinned.equals(dataset.commitDigest())) {
            throw new RedoubtException(
                    Refusal.COMMIT_UNEXPECTED,
                    "the head of " + dataset.root() + " is " + dataset.commitDigest() + ", expected " + pinned);
        }
        Part part = dataset.part(file);
        if (part.kind() != Part.Kind.PARQUET) {
            throw new RedoubtException(ErrorCode.IDENTITY_MISMATCH, "part " + part.name() + " is listed as no Parquet file");
        }
        part.checkLength(fileSystem.getFileStatus(file).getLen());
        Completeness.check(fileSystem, dataset);
        Algorithm algorithm = FileTail.read(fileSystem, file).algorithm();
        return new ExpectedPart(
                dataset.root(), new PartIdentity(dataset.commit().dataset(), part.commit(), algorithm, part.name()));
    }
}
