package io.redoubt.sealed;

import io.redoubt.keys.EndpointClient;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Head commits that this JVM has read, by root. Before one is used again, its record must still be there unchanged and the
 * next number still be free: two questions to the file system instead of a listing and a decryption for every file opened. The
 * register of heads is asked again for every query, once: the storage may have dropped newer commits, and look as it did before.
 */
final class DatasetCache {
    private record Entry(Dataset dataset, long length, long modified) {}

    /** That the register did not contradict this head. */
    private record Asked(EndpointClient register, Path root, String commitDigest) {}

    private static final int CAPACITY = 64;
    private static final LinkedHashMap<Path, Entry> ENTRIES = new LinkedHashMap<>(16, 0.75f, true);
    private static final OncePerQuery ASKED = new OncePerQuery();
    /** One for some of the roots: the first tasks of a query start at once, and only one of them shall read and ask. */
    private static final Object[] LOCKS = Stream.generate(Object::new).limit(16).toArray();

    private DatasetCache() {}

    static Dataset get(FileSystem fileSystem, Path root, Configuration configuration) throws IOException {
        Path name = fileSystem.makeQualified(root);
        EndpointClient register = EndpointClient.of(configuration);
        Optional<Dataset> known = head(fileSystem, name);
        if (known.isPresent() && ASKED.isDone(asked(register, known.get()))) {
            return known.get();
        }
        synchronized (LOCKS[Math.floorMod(name.hashCode(), LOCKS.length)]) {
            known = head(fileSystem, name);
            if (known.isPresent() && ASKED.isDone(asked(register, known.get()))) {
                return known.get();
            }
            Dataset read = known.isPresent() ? known.get() : Dataset.read(fileSystem, name, configuration);
            Dataset dataset = Freshness.check(fileSystem, read, configuration);
            if (known.isEmpty() || dataset != known.get()) {
                keep(fileSystem, dataset);
            }
            ASKED.done(asked(register, dataset));
            return dataset;
        }
    }

    private static Asked asked(EndpointClient register, Dataset dataset) {
        return new Asked(register, dataset.root(), dataset.commitDigest());
    }

    private static Optional<Dataset> head(FileSystem fileSystem, Path root) throws IOException {
        Entry known;
        synchronized (ENTRIES) {
            known = ENTRIES.get(root);
        }
        return known != null && isHead(fileSystem, root, known) ? Optional.of(known.dataset()) : Optional.empty();
    }

    private static void keep(FileSystem fileSystem, Dataset dataset) throws IOException {
        FileStatus record = fileSystem.getFileStatus(NumberedFiles.path(
                Dataset.commits(dataset.root()), dataset.commit().number()));
        synchronized (ENTRIES) {
            ENTRIES.put(dataset.root(), new Entry(dataset, record.getLen(), record.getModificationTime()));
            if (ENTRIES.size() > CAPACITY) {
                Map.Entry<Path, Entry> eldest = ENTRIES.entrySet().iterator().next();
                ENTRIES.remove(eldest.getKey());
            }
        }
    }

    private static boolean isHead(FileSystem fileSystem, Path root, Entry known) throws IOException {
        Path commits = Dataset.commits(root);
        long number = known.dataset().commit().number();
        try {
            FileStatus record = fileSystem.getFileStatus(NumberedFiles.path(commits, number));
            return record.getLen() == known.length()
                    && record.getModificationTime() == known.modified()
                    && !fileSystem.exists(NumberedFiles.path(commits, number + 1));
        } catch (FileNotFoundException e) {
            return false;
        }
    }
}
