package io.redoubt.write;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.CommitHead;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.Freshness;
import io.redoubt.sealed.KeyFiles;
import io.redoubt.sealed.Part;
import io.redoubt.sealed.Storage;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * A write by an unmodified program, from its keys to its commit record: the folder that it names is the dataset. Text and ORC
 * parts lie under {@code data/<commit id>/}; Parquet's lie directly in the folder, as before there was a file system for them.
 */
public final class DatasetWrite {
    /** Option of a write: name of the primary key; the workspace's default if absent. */
    public static final String KEY = "redoubt.key";

    /** Option of a write: columns with keys of their own, {@code key:column,column;key:column}, by names of primary keys. */
    static final String COLUMN_KEYS = "redoubt.column.keys";

    private static final int COMMIT_ATTEMPTS = 8;

    private final FileSystem storage;
    private final WriteJob job;
    private final Replaced replaced;
    private final UUID write = UUID.randomUUID();
    private Optional<Dataset> head;
    private boolean published;

    private DatasetWrite(FileSystem storage, WriteJob job, Replaced replaced, Optional<Dataset> head) {
        this.storage = storage;
        this.job = job;
        this.replaced = replaced;
        this.head = head;
    }

    /**
     * Makes the keys of a write into {@code output}.
     *
     * @throws RedoubtException {@code spark.option}: the folder holds a dataset of another layout, or lies in one; {@code
     *     sealed.plaintext}: it holds other files; {@code key.*}, {@code endpoint.*}: no key can be made
     */
    public static DatasetWrite begin(Path output, Part.Kind kind, Replaced replaced, Configuration conf) throws IOException {
        FileSystem storage = Storage.of(output, conf);
        Path root = storage.makeQualified(output);
        Optional<Path> outer = Dataset.rootOf(storage, root);
        if (outer.isPresent()) {
            throw new RedoubtException(
                    ErrorCode.OPTION_REFUSED, root + " lies in the sealed dataset " + outer.get() + ": write to that one");
        }
        Optional<Dataset> head = Optional.empty();
        if (storage.exists(new Path(root, "_commits"))) {
            head = Optional.of(Dataset.open(storage, root, conf));
            checkLayout(head.get(), kind, replaced);
        } else {
            checkEmpty(storage, root);
        }
        UUID dataset = head.isPresent() ? head.get().commit().dataset() : UUID.randomUUID();
        KeyFiles keys = new KeyFiles(storage, root, dataset);
        UUID dataKey = keys.create(conf.getTrimmed(KEY), conf);
        UUID commit = UUID.randomUUID();
        String prefix = kind == Part.Kind.PARQUET ? "" : "data/" + commit;
        WriteJob job = new WriteJob(root, kind, dataset, commit, prefix, dataKey, columnKeys(kind, keys, conf));
        return new DatasetWrite(storage, job, replaced, head);
    }

    /** Commits a dataset without the parts that are shown in a folder. */
    public static void remove(Dataset dataset, String folder, Configuration conf) throws IOException {
        List<Part> parts = dataset.commit().parts();
        Part.Kind kind = parts.get(0).kind() == Part.Kind.PARQUET ? Part.Kind.PARQUET : Part.Kind.PART;
        Replaced replaced = new Replaced(Set.of(folder), false);
        begin(dataset.root(), kind, replaced, conf).commit(List.of(), conf);
    }

    private static Map<String, UUID> columnKeys(Part.Kind kind, KeyFiles keys, Configuration conf) throws IOException {
        String option = conf.get(COLUMN_KEYS, "");
        if (kind != Part.Kind.PARQUET && !option.isEmpty()) {
            throw new RedoubtException(ErrorCode.OPTION_REFUSED, "only Parquet has columns with keys of their own");
        }
        Map<String, UUID> columns = new LinkedHashMap<>();
        Map<String, UUID> made = new HashMap<>();
        for (Map.Entry<String, String> entry : WriteJob.columns(option, COLUMN_KEYS).entrySet()) {
            UUID dataKey = made.get(entry.getValue());
            if (dataKey == null) {
                dataKey = keys.create(entry.getValue(), conf);
                made.put(entry.getValue(), dataKey);
            }
            columns.put(entry.getKey(), dataKey);
        }
        return columns;
    }

    /** What tasks need to know of the write. */
    public WriteJob job() {
        return job;
    }

    /**
     * Writes the commit record, and registers the commit once it is durable. An append goes on top of whatever was committed
     * meanwhile; a write that replaces parts was decided on a state that is gone then.
     *
     * @throws RedoubtException {@code sealed.conflict}: another writer came first and this one cannot go on top of it; {@code
     *     broker.*}, {@code endpoint.*}: the commit is there, but the register of heads did not take it
     */
    public void commit(List<WrittenPart> added, Configuration conf) throws IOException {
        TaskFiles.syncFolders(job, added, conf);
        published = true;
        NewCommit commit = new NewCommit(job, write, added, replaced.by(job, added));
        for (int attempt = 0; attempt < COMMIT_ATTEMPTS; attempt++) {
            Optional<CommitHead> published = commit.publish(storage, head, operation(), properties(added), conf);
            if (published.isPresent()) {
                Freshness.register(storage, job.root(), job.dataset(), published.get(), conf);
                return;
            }
            Dataset newer = Dataset.open(storage, job.root(), conf);
            if (lists(newer, added)) {
                Freshness.register(storage, job.root(), job.dataset(), newer.head(), conf);
                return;
            }
            if (!newer.commit().dataset().equals(job.dataset()) || replaced.any()) {
                break;
            }
            checkLayout(newer, job.kind(), replaced);
            head = Optional.of(newer);
        }
        throw new RedoubtException(
                ErrorCode.CONFLICT, "another writer committed to " + job.root() + " first; nothing of this write is visible");
    }

    /** Removes what a failed write left; nothing once its commit record was tried, which may be there whatever was answered. */
    public void discard() throws IOException {
        if (published) {
            return;
        }
        storage.delete(new Path(job.root(), "data/" + job.commit()), true);
        storage.delete(new Path(job.root(), "_keys/" + job.dataKey()), true);
        if (head.isEmpty()) {
            removeIfEmpty(new Path(job.root(), "data"));
            removeIfEmpty(new Path(job.root(), "_keys"));
        }
    }

    private void removeIfEmpty(Path folder) throws IOException {
        try {
            if (storage.listStatus(folder).length == 0) {
                storage.delete(folder, false);
            }
        } catch (FileNotFoundException e) {
            return; // nothing was made
        }
    }

    /** An exclusive creation that the file system tried twice may have succeeded, and another writer come since. */
    private boolean lists(Dataset newer, List<WrittenPart> added) {
        return newer.commit().write().equals(write)
                || added.stream().anyMatch(part -> newer.commit().part(part.name()).isPresent());
    }

    private String operation() {
        if (head.isEmpty()) {
            return "create";
        }
        return replaced.any() ? "overwrite" : "append";
    }

    private SortedMap<String, String> properties(List<WrittenPart> added) {
        SortedMap<String, String> properties = new TreeMap<>();
        if (!replaced.everything()) {
            head.ifPresent(dataset -> properties.putAll(dataset.commit().properties()));
        }
        if (job.kind() == Part.Kind.PARQUET) {
            properties.put("format", "parquet");
        } else if (head.isEmpty() || replaced.everything()) {
            MediaTypes.format(job, added).ifPresent(format -> properties.put("format", format));
        }
        if (!job.columnKeys().isEmpty()) {
            properties.put("column_keys", "yes");
        }
        return properties;
    }

    private static void checkLayout(Dataset dataset, Part.Kind kind, Replaced replaced) throws RedoubtException {
        if (replaced.everything()) {
            return;
        }
        for (Part part : dataset.commit().parts()) {
            boolean parquet = part.kind() == Part.Kind.PARQUET;
            if (parquet != (kind == Part.Kind.PARQUET) || parquet && Paths.Managed.of(part.name()).isPresent()) {
                throw new RedoubtException(
                        ErrorCode.OPTION_REFUSED,
                        dataset.root() + " holds parts of another format or layout, such as " + part.name()
                                + ": append with redoubt.spark, or overwrite");
            }
        }
    }

    /** Files that no commit lists would be read by who lists the folder; Hadoop's hidden names are no files of the table. */
    private static void checkEmpty(FileSystem storage, Path root) throws IOException {
        if (!storage.exists(root)) {
            return;
        }
        for (FileStatus entry : storage.listStatus(root)) {
            String name = entry.getPath().getName();
            if (!name.startsWith("_") && !name.startsWith(".")) {
                throw new RedoubtException(
                        ErrorCode.PLAINTEXT, root + " holds files that are not sealed, such as " + name + ": overwrite it");
            }
        }
    }
}
