package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * One write of Parquet parts, as the Hadoop configuration carries it to the tasks: names and ids, nothing secret.
 *
 * @param root the dataset
 * @param prefix where the job's output lies below the root; empty if it is the root
 * @param footerKey data key of footers and of every column without a key of its own
 * @param columnKeys data keys of columns by the columns' dotted paths, or the paths of what they lie in
 */
record WriteJob(Path root, UUID dataset, UUID commit, String prefix, UUID footerKey, Map<String, UUID> columnKeys) {
    static final String ROOT = "redoubt.write.root";
    static final String DATASET = "redoubt.write.dataset";
    static final String COMMIT = "redoubt.write.commit";
    static final String PREFIX = "redoubt.write.prefix";
    static final String FOOTER_KEY = "redoubt.write.footer.key";
    static final String COLUMN_KEYS = "redoubt.write.column.keys";

    static boolean isConfigured(Configuration configuration) {
        return configuration.get(COMMIT) != null;
    }

    /**
     * Reads the job from a configuration.
     *
     * @throws RedoubtException {@code sealed.plaintext}: there is none, so the write would be plaintext
     */
    static WriteJob of(Configuration configuration) throws RedoubtException {
        if (!isConfigured(configuration)) {
            throw new RedoubtException(
                    Refusal.PLAINTEXT,
                    "no key was made for this Parquet write: write with redoubt.spark, or with df.write.parquet in a session whose"
                            + " spark.sql.sources.commitProtocolClass is " + SealedCommitProtocol.class.getName());
        }
        Map<String, UUID> columns = new LinkedHashMap<>();
        for (Map.Entry<String, String> entry : columns(configuration.get(COLUMN_KEYS, ""), COLUMN_KEYS).entrySet()) {
            columns.put(entry.getKey(), uuid(entry.getValue(), COLUMN_KEYS));
        }
        return new WriteJob(
                new Path(required(configuration, ROOT)),
                uuid(required(configuration, DATASET), DATASET),
                uuid(required(configuration, COMMIT), COMMIT),
                configuration.get(PREFIX, ""),
                uuid(required(configuration, FOOTER_KEY), FOOTER_KEY),
                columns);
    }

    /** Writes the job into a configuration. */
    void store(Configuration configuration) {
        configuration.set(ROOT, root.toString());
        configuration.set(DATASET, dataset.toString());
        configuration.set(COMMIT, commit.toString());
        configuration.set(PREFIX, prefix);
        configuration.set(FOOTER_KEY, footerKey.toString());
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
