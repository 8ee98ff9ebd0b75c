package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.hadoop.SealedCodec;
import io.redoubt.keys.CommitHead;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.Freshness;
import io.redoubt.sealed.KeyFiles;
import io.redoubt.sealed.Part;
import java.io.IOException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * A write by an unmodified {@code df.write.parquet(path)}: the folder itself is the dataset and its parts lie directly in it, where
 * {@code spark.read.parquet(path)} finds them. Spark has applied the mode before: what it overwrites is gone, so a folder with a
 * commit record is appended to.
 */
final class NativeWrite {
    /** Option of a write: columns with keys of their own, {@code key:column,column;key:column}, by names of primary keys. */
    static final String COLUMN_KEYS = "redoubt.column.keys";

    private static final int COMMIT_ATTEMPTS = 8;

    private final FileSystem fileSystem;
    private final WriteJob job;
    private final UUID write = UUID.randomUUID();
    private Optional<Dataset> head;

    private NativeWrite(FileSystem fileSystem, WriteJob job, Optional<Dataset> head) {
        this.fileSystem = fileSystem;
        this.job = job;
        this.head = head;
    }

    /**
     * Makes the keys of a write into {@code root}.
     *
     * @throws RedoubtException {@code spark.option}: the folder holds a dataset of another layout, or lies in one; {@code
     *     sealed.plaintext}: it holds other files; {@code key.*}, {@code endpoint.*}: no key can be made
     */
    static NativeWrite begin(Path output, Configuration conf) throws IOException {
        FileSystem fileSystem = output.getFileSystem(conf);
        Path root = fileSystem.makeQualified(output);
        Optional<Path> outer = Dataset.rootOf(fileSystem, root);
        if (outer.isPresent()) {
            throw new RedoubtException(
                    ErrorCode.OPTION_REFUSED, root + " lies in the sealed dataset " + outer.get() + ": write to that one");
        }
        Optional<Dataset> head = Optional.empty();
        if (fileSystem.exists(new Path(root, "_commits"))) {
            head = Optional.of(Dataset.open(fileSystem, root, conf));
            checkLayout(head.get());
        } else {
            checkEmpty(fileSystem, root);
        }
        UUID dataset = head.isPresent() ? head.get().commit().dataset() : UUID.randomUUID();
        KeyFiles keys = new KeyFiles(fileSystem, root, dataset);
        UUID footerKey = keys.create(conf.getTrimmed(SealedCodec.KEY), conf);
        Map<String, UUID> columns = new LinkedHashMap<>();
        Map<String, UUID> made = new HashMap<>();
        for (Map.Entry<String, String> entry :
                WriteJob.columns(conf.get(COLUMN_KEYS, ""), COLUMN_KEYS).entrySet()) {
            UUID dataKey = made.get(entry.getValue());
            if (dataKey == null) {
                dataKey = keys.create(entry.getValue(), conf);
                made.put(entry.getValue(), dataKey);
            }
            columns.put(entry.getKey(), dataKey);
        }
        WriteJob job = new WriteJob(root, dataset, UUID.randomUUID(), "", footerKey, columns);
        return new NativeWrite(fileSystem, job, head);
    }

    WriteJob job() {
        return job;
    }

    /**
     * Writes the commit record, and registers the commit once it is durable.
     *
     * @throws RedoubtException {@code sealed.conflict}: another writer came first and this one cannot go on top of it; {@code
     *     broker.*}, {@code endpoint.*}: the commit is there, but the register of heads did not take it
     */
    void commit(List<WrittenPart> added, Configuration conf) throws IOException {
        NewCommit commit = new NewCommit(job, write, added);
        for (int attempt = 0; attempt < COMMIT_ATTEMPTS; attempt++) {
            Optional<CommitHead> published = commit.publish(fileSystem, head, properties(), conf);
            if (published.isPresent()) {
                Freshness.register(job.dataset(), published.get(), conf);
                return;
            }
            Dataset newer = Dataset.open(fileSystem, job.root(), conf);
            if (lists(newer, added)) {
                Freshness.register(job.dataset(), newer.head(), conf);
                return;
            }
            if (!newer.commit().dataset().equals(job.dataset())) {
                break;
            }
            checkLayout(newer);
            head = Optional.of(newer);
        }
        throw new RedoubtException(
                Refusal.CONFLICT, "another writer committed to " + job.root() + " first; nothing of this write is visible");
    }

    /** An exclusive creation that the file system tried twice may have succeeded, and another writer come since. */
    private boolean lists(Dataset newer, List<WrittenPart> added) {
        return newer.commit().write().equals(write)
                || added.stream().anyMatch(part -> newer.commit().part(part.name()).isPresent());
    }

    private SortedMap<String, String> properties() {
        SortedMap<String, String> properties = new TreeMap<>();
        head.ifPresent(dataset -> properties.putAll(dataset.commit().properties()));
        properties.put("format", "parquet");
        if (!job.columnKeys().isEmpty()) {
            properties.put("column_keys", "yes");
        }
        return properties;
    }

    private static void checkLayout(Dataset dataset) throws RedoubtException {
        for (Part part : dataset.commit().parts()) {
            if (part.kind() != Part.Kind.PARQUET || Paths.Managed.of(part.name()).isPresent()) {
                throw new RedoubtException(
                        ErrorCode.OPTION_REFUSED,
                        dataset.root() + " was not written by df.write.parquet, whose readers would not find all of its parts:"
                                + " append with redoubt.spark, or overwrite");
            }
        }
    }

    /** Files that no commit lists would make every later read fail; Hadoop's hidden names are no files of the table. */
    private static void checkEmpty(FileSystem fileSystem, Path root) throws IOException {
        if (!fileSystem.exists(root)) {
            return;
        }
        for (FileStatus entry : fileSystem.listStatus(root)) {
            String name = entry.getPath().getName();
            if (!name.startsWith("_") && !name.startsWith(".")) {
                throw new RedoubtException(
                        Refusal.PLAINTEXT, root + " holds files that are not sealed, such as " + name + ": overwrite it");
            }
        }
    }
}
