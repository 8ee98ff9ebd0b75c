package io.redoubt.write;

import io.redoubt.sealed.DatasetView;
import io.redoubt.sealed.Part;
import java.io.Serializable;
import java.util.HashSet;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * Which parts of a dataset a write replaces. They are left out of its commit record, and stay on the storage until {@code redoubt
 * gc}: readers of the old commit finish, and a write that fails has replaced nothing.
 *
 * @param folders as programs see them, relative to the dataset; {@code ""} is everything
 * @param written whether every folder that the write has a part in is replaced (Spark's dynamic partition overwrite)
 */
public record Replaced(Set<String> folders, boolean written) implements Serializable {
    /** Nothing: an append. */
    public static final Replaced NOTHING = new Replaced(Set.of(), false);

    /** Whether the write is no append. */
    public boolean any() {
        return written || !folders.isEmpty();
    }

    /** Whether nothing that was there stays. */
    public boolean everything() {
        return folders.contains("");
    }

    Predicate<Part> by(WriteJob job, Iterable<WrittenPart> added) {
        Set<String> exact = new HashSet<>();
        if (written) {
            for (WrittenPart part : added) {
                exact.add(folderOf(part.name().substring(job.prefix().isEmpty() ? 0 : job.prefix().length() + 1)));
            }
        }
        Set<String> below = folders.stream().map(folder -> folder + "/").collect(Collectors.toSet());
        return part -> {
            String name = DatasetView.shownName(part);
            return everything()
                    || exact.contains(folderOf(name))
                    || below.stream().anyMatch(name::startsWith);
        };
    }

    private static String folderOf(String name) {
        return name.substring(0, Math.max(0, name.lastIndexOf('/')));
    }
}
