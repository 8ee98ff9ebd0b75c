package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.Part;
import io.redoubt.write.Paths;
import io.redoubt.fs.ReadOptions;
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
 * part's name tells its commit. For any other read (an unmodified {@code spark.read.parquet}) the head commit must list the file,
 * and nothing that it lists may be missing or have another length.
 */
record ExpectedPart(Path root, PartIdentity identity) {
    /**
     * Finds the part that belongs at {@code file}, and compares the file's length and end with it.
     *
     * @throws RedoubtException {@code sealed.*}: nothing belongs there, or something else lies there
     */
    static ExpectedPart of(FileSystem fileSystem, Path file, Configuration conf) throws IOException {
        String plannedRoot = conf.getTrimmed(ReadOptions.ROOT, "");
        if (!plannedRoot.isEmpty()) {
            Path root = new Path(plannedRoot);
            String name = Paths.below(root, file);
            Optional<Paths.Managed> managed = Paths.Managed.of(name);
            if (managed.isPresent()) {
                UUID dataset = UUID.fromString(conf.getTrimmed(ReadOptions.DATASET, ""));
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
        ReadOptions.checkCommit(conf, dataset);
        Part part = dataset.part(file);
        if (part.kind() != Part.Kind.PARQUET) {
            throw new RedoubtException(ErrorCode.IDENTITY_MISMATCH, "part " + part.name() + " is listed as no Parquet file");
        }
        Completeness.check(fileSystem, dataset);
        Algorithm algorithm = FileTail.read(fileSystem, dataset.fileOf(part)).algorithm();
        return new ExpectedPart(
                dataset.root(), new PartIdentity(dataset.commit().dataset(), part.commit(), algorithm, part.name()));
    }
}
