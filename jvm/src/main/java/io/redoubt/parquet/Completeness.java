package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.OncePerQuery;
import io.redoubt.sealed.Part;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Checks that every part of a dataset is there, for reads that Spark planned by listing folders: such a read does not know what
 * it missed. Done once for a dataset, query and JVM.
 */
final class Completeness {
    private record Check(Path root, String commitDigest) {}

    private static final OncePerQuery DONE = new OncePerQuery();

    private Completeness() {}

    /**
     * Compares the files with the commit record.
     *
     * @throws RedoubtException {@code sealed.part_missing} or {@code sealed.part_changed}, naming the first such part
     */
    static void check(FileSystem fileSystem, Dataset dataset) throws IOException {
        Check check = new Check(dataset.root(), dataset.commitDigest());
        if (!DONE.isDone(check)) {
            compare(fileSystem, dataset);
            DONE.done(check);
        }
    }

    private static void compare(FileSystem fileSystem, Dataset dataset) throws IOException {
        Map<Path, List<Part>> folders = new HashMap<>();
        for (Part part : dataset.commit().parts()) {
            Path folder = new Path(dataset.root(), part.name()).getParent();
            folders.computeIfAbsent(folder, key -> new ArrayList<>()).add(part);
        }
        for (Map.Entry<Path, List<Part>> folder : folders.entrySet()) {
            Map<String, Long> lengths = lengths(fileSystem, folder.getKey());
            for (Part part : folder.getValue()) {
                Long length = lengths.get(part.name().substring(part.name().lastIndexOf('/') + 1));
                if (length == null) {
                    throw new RedoubtException(
                            ErrorCode.PART_MISSING, "part " + part.name() + " of " + dataset.root() + " is missing");
                }
                part.checkLength(length);
            }
        }
    }

    private static Map<String, Long> lengths(FileSystem fileSystem, Path folder) throws IOException {
        Map<String, Long> lengths = new HashMap<>();
        try {
            for (FileStatus file : fileSystem.listStatus(folder)) {
                lengths.put(file.getPath().getName(), file.getLen());
            }
        } catch (FileNotFoundException e) {
            // The caller names the parts that are missing with it.
            return lengths;
        }
        return lengths;
    }
}
