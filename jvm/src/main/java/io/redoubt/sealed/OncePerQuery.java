package io.redoubt.sealed;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.spark.TaskContext;

/**
 * Remembers which checks were made in this JVM for the query, and the stage of it, that the current Spark task belongs to.
 * Outside of tasks nothing is remembered: there is no telling where one read ends and the next begins.
 */
public final class OncePerQuery {
    private record Entry(Record check, String query) {}

    private static final int CAPACITY = 256;

    private final Set<Entry> done = Collections.synchronizedSet(Collections.newSetFromMap(new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Entry, Boolean> eldest) {
            return size() > CAPACITY;
        }
    }));

    /** Whether the check was made for the current query. */
    public boolean isDone(Record check) {
        return query().map(query -> done.contains(new Entry(check, query))).orElse(false);
    }

    /** Notes that the check was made for the current query. */
    public void done(Record check) {
        query().ifPresent(query -> done.add(new Entry(check, query)));
    }

    private static Optional<String> query() {
        try {
            TaskContext task = TaskContext.get();
            return task == null
                    ? Optional.empty()
                    : Optional.of(task.getLocalProperty("spark.sql.execution.id") + "/" + task.stageId());
        } catch (NoClassDefFoundError e) {
            // Spark is absent: another Hadoop program uses the codec.
            return Optional.empty();
        }
    }
}
