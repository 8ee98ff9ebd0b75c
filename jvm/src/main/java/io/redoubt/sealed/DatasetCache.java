package io.redoubt.sealed;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Head commits that this JVM has read, by root. Before one is used again, its record must still be there unchanged and the
 * next number still be free: two questions to the file system instead of a listing and a decryption for every file opened.
 */
final class DatasetCache {
    private record Entry(Dataset dataset, long length, long modified) {}

    private static final int CAPACITY = 64;
    private static final LinkedHashMap<Path, Entry> ENTRIES = new LinkedHashMap<>(16, 0.75f, true);

    private DatasetCache() {}

    static Dataset get(FileSystem fileSystem, Path root, Configuration configuration) throws IOException {
        Path name = fileSystem.makeQualified(root);
        Entry known;
        synchronized (ENTRIES) {
            known = ENTRIES.get(name);
        }
        if (known != null && isHead(fileSystem, name, known)) {
            return known.dataset();
        }
        Dataset dataset = Dataset.open(fileSystem, name, configuration);
        FileStatus record = fileSystem.getFileStatus(
                NumberedFiles.path(Dataset.commits(name), dataset.commit().number()));
        synchronized (ENTRIES) {
            ENTRIES.put(name, new Entry(dataset, record.getLen(), record.getModificationTime()));
            if (ENTRIES.size() > CAPACITY) {
                Map.Entry<Path, Entry> eldest = ENTRIES.entrySet().iterator().next();
                ENTRIES.remove(eldest.getKey());
            }
        }
        return dataset;
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
