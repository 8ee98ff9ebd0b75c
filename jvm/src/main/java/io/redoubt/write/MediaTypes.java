package io.redoubt.write;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Media types by the ends of names, and the formats that {@code redoubt.spark.read} knows. */
final class MediaTypes {
    private static final String UNKNOWN = "application/octet-stream";
    private static final Map<String, String> TYPES = Map.of(
            ".csv", "text/csv",
            ".json", "application/jsonl",
            ".txt", "text/plain",
            ".orc", "application/vnd.apache.orc");
    private static final Map<String, String> FORMATS =
            Map.of("text/csv", "csv", "application/jsonl", "json", "text/plain", "text");

    private MediaTypes() {}

    static String of(String name) {
        int dot = name.lastIndexOf('.');
        return dot < 0 ? UNKNOWN : TYPES.getOrDefault(name.substring(dot), UNKNOWN);
    }

    /** The format of a write whose parts all have one, and whose rows have no columns in folder names. */
    static Optional<String> format(WriteJob job, List<WrittenPart> parts) {
        Set<String> formats = new HashSet<>();
        for (WrittenPart part : parts) {
            boolean inFolder = part.name().indexOf('/', job.prefix().length() + 1) >= 0;
            formats.add(inFolder ? "" : FORMATS.getOrDefault(part.mediaType(), ""));
        }
        return formats.size() == 1 ? formats.stream().filter(format -> !format.isEmpty()).findFirst() : Optional.empty();
    }
}
