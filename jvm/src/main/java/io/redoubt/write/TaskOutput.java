package io.redoubt.write;

import io.redoubt.sealed.Storage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** What attempts of tasks in this JVM have written, until they commit or abort. */
public final class TaskOutput {
    private static final Map<TaskFolder, Map<Path, Optional<WrittenPart>>> FOLDERS = new HashMap<>();

    private TaskOutput() {}

    /** Notes that a file was begun. */
    static synchronized void begun(TaskFolder folder, Path stored) {
        FOLDERS.computeIfAbsent(folder, key -> new TreeMap<>()).put(stored, Optional.empty());
    }

    /** Notes that a file is whole and durable. A file of an attempt that has ended counts no more. */
    static synchronized void finished(TaskFolder folder, Path stored, WrittenPart part) {
        FOLDERS.getOrDefault(folder, new HashMap<>()).replace(stored, Optional.of(part));
    }

    /**
     * Returns the parts of an attempt, which ends with this.
     *
     * @throws IOException a file was begun and not closed: the attempt must not commit
     */
    public static List<WrittenPart> take(TaskFolder folder) throws IOException {
        List<WrittenPart> parts = new ArrayList<>();
        for (Map.Entry<Path, Optional<WrittenPart>> file : end(folder).entrySet()) {
            parts.add(file.getValue().orElseThrow(() -> new IOException(file.getKey() + " was not closed")));
        }
        return parts;
    }

    /** Ends an attempt and removes its files. */
    public static void discard(TaskFolder folder, Configuration conf) throws IOException {
        FileSystem storage = Storage.of(folder.path(), conf);
        for (Path file : end(folder).keySet()) {
            storage.delete(file, false);
        }
    }

    private static synchronized Map<Path, Optional<WrittenPart>> end(TaskFolder folder) {
        Map<Path, Optional<WrittenPart>> files = FOLDERS.remove(folder);
        return files == null ? Map.of() : files;
    }
}
