package io.redoubt.write;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Part;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * One write of parts, as the Hadoop configuration carries it to the tasks: names and ids, nothing secret.
 *
 * @param root the dataset
 * @param kind how its parts are sealed: {@code PARQUET}, by Parquet's own encryption, or {@code PART}, by the file system
 * @param prefix where the job's output lies below the root; empty if it is the root
 * @param dataKey data key of the parts; of Parquet, of footers and of every column without a key of its own
 * @param columnKeys data keys of columns by the columns' dotted paths, or the paths of what they lie in
 */
public record WriteJob(
        Path root, Part.Kind kind, UUID dataset, UUID commit, String prefix, UUID dataKey, Map<String, UUID> columnKeys) {
    /** The class that {@code spark.sql.sources.commitProtocolClass} must name. */
    public static final String PROTOCOL = "io.redoubt.commit.SealedCommitProtocol";

    static final String ROOT = "redoubt.write.root";
    static final String DATASET = "redoubt.write.dataset";
    static final String COMMIT = "redoubt.write.commit";
    static final String PREFIX = "redoubt.write.prefix";
    static final String DATA_KEY = "redoubt.write.footer.key";
    static final String KIND = "redoubt.write.kind";
    static final String COLUMN_KEYS = "redoubt.write.column.keys";

    /** Whether a configuration carries a job. */
    public static boolean isConfigured(Configuration configuration) {
        return configuration.get(COMMIT) != null;
    }

    /**
     * Reads the job from a configuration.
     *
     * @throws RedoubtException {@code sealed.plaintext}: there is none, so the write would be plaintext
     */
    public static WriteJob of(Configuration configuration) throws RedoubtException {
        if (!isConfigured(configuration)) {
            throw new RedoubtException(
                    ErrorCode.PLAINTEXT,
                    "no key was made for this write: write with redoubt.spark, or with df.write in a session whose"
                            + " spark.sql.sources.commitProtocolClass is " + PROTOCOL);
        }
        Map<String, UUID> columns = new LinkedHashMap<>();
        for (Map.Entry<String, String> entry : columns(configuration.get(COLUMN_KEYS, ""), COLUMN_KEYS).entrySet()) {
            columns.put(entry.getKey(), uuid(entry.getValue(), COLUMN_KEYS));
        }
        return new WriteJob(
                new Path(required(configuration, ROOT)),
                kind(configuration.getTrimmed(KIND, Part.Kind.PARQUET.name())),
                uuid(required(configuration, DATASET), DATASET),
                uuid(required(configuration, COMMIT), COMMIT),
                configuration.get(PREFIX, ""),
                uuid(required(configuration, DATA_KEY), DATA_KEY),
                columns);
    }

    /** Writes the job into a configuration. */
    public void store(Configuration configuration) {
        configuration.set(ROOT, root.toString());
        configuration.set(KIND, kind.name());
        configuration.set(DATASET, dataset.toString());
        configuration.set(COMMIT, commit.toString());
        configuration.set(PREFIX, prefix);
        configuration.set(DATA_KEY, dataKey.toString());
        Map<String, String> groups = new TreeMap<>();
        columnKeys.forEach((column, key) -> groups.merge(key.toString(), column, (a, b) -> a + "," + b));
        StringBuilder text = new StringBuilder();
        groups.forEach((key, names) -> text.append(text.isEmpty() ? "" : ";").append(key).append(':').append(names));
        configuration.set(COLUMN_KEYS, text.toString());
    }

    /**
     * Reads {@code key:column,column;key:column}, the form of Parquet's own {@code parquet.encryption.column.keys}, as keys by
     * column. A full key name, {@code key:<namespace>/<name>.<class>}, has a colon of its own.
     */
    static Map<String, String> columns(String text, String option) throws RedoubtException {
        Map<String, String> keys = new LinkedHashMap<>();
        for (String group : text.isBlank() ? new String[0] : text.split(";")) {
            int colon = group.indexOf(':', group.strip().startsWith("key:") ? group.indexOf(':') + 1 : 0);
            if (colon < 1) {
                throw malformed(option);
            }
            String key = group.substring(0, colon).strip();
            for (String column : group.substring(colon + 1).split(",")) {
                if (column.isBlank() || key.isEmpty() || keys.put(column.strip(), key) != null) {
                    throw malformed(option);
                }
            }
        }
        return keys;
    }

    private static String required(Configuration configuration, String name) throws RedoubtException {
        String value = configuration.getTrimmed(name, "");
        if (value.isEmpty()) {
            throw new RedoubtException(ErrorCode.OPTION_REFUSED, name + " is not set, though " + COMMIT + " is");
        }
        return value;
    }

    private static Part.Kind kind(String text) throws RedoubtException {
        for (Part.Kind kind : List.of(Part.Kind.PARQUET, Part.Kind.PART)) {
            if (kind.name().equals(text)) {
                return kind;
            }
        }
        throw malformed(KIND);
    }

    private static UUID uuid(String text, String option) throws RedoubtException {
        try {
            return UUID.fromString(text);
        } catch (IllegalArgumentException e) {
            throw malformed(option);
        }
    }

    private static RedoubtException malformed(String option) {
        return new RedoubtException(ErrorCode.OPTION_REFUSED, option + " is malformed, or names a column twice");
    }
}
