package io.redoubt.parquet;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.redoubt.write.WrittenPart;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** Parts of finished Spark jobs whose commit record {@code redoubt.spark} writes, until it fetches them. */
public final class ManagedWrites {
    private static final int CAPACITY = 64;
    private static final LinkedHashMap<UUID, List<WrittenPart>> FINISHED = new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<UUID, List<WrittenPart>> eldest) {
            return size() > CAPACITY;
        }
    };

    private ManagedWrites() {}

    /** Keeps the parts of a job that has finished. */
    public static synchronized void put(UUID commit, List<WrittenPart> parts) {
        FINISHED.put(commit, parts);
    }

    /** Returns the parts of a commit as a JSON array of objects, once; null if no job has finished it. */
    public static synchronized String take(String commit) throws JsonProcessingException {
        List<WrittenPart> parts = FINISHED.remove(UUID.fromString(commit));
        return parts == null ? null : new ObjectMapper().writeValueAsString(parts);
    }
}
