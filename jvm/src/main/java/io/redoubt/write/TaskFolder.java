package io.redoubt.write;

import io.redoubt.RedoubtException;
import java.util.Optional;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.Path;

/**
 * The folder that one attempt of a task believes to write to, {@code <dataset>/data/<commit id>/_attempt-<task>-<attempt>}. It
 * exists in paths only: a file {@code <rest>} in it is stored as the part {@code data/<commit id>/<rest>~<attempt>.sealed}, where
 * it stays. No two attempts make the same part, because the file of attempt {@code n} of a task ends in {@code ~n}, and tasks
 * have file names of their own; attempt 0 has no such end.
 *
 * @param root the dataset
 * @param path of the folder
 */
public record TaskFolder(Path root, UUID commit, int attempt, Path path) {
    private static final Pattern INSIDE = Pattern.compile(
            "(.+)/data/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/_attempt-([0-9]{1,10})-([0-9]{1,10})(/.+)?", Pattern.DOTALL);

    /** The folder of an attempt. */
    public static TaskFolder of(WriteJob job, int task, int attempt) {
        Path path = new Path(job.root(), "data/" + job.commit() + "/_attempt-" + task + "-" + attempt);
        return new TaskFolder(job.root(), job.commit(), attempt, path);
    }

    /** The folder that a path is or lies in; nothing if it lies in none. */
    public static Optional<TaskFolder> containing(Path path) {
        Matcher match = INSIDE.matcher(path.toUri().getPath());
        if (!match.matches()) {
            return Optional.empty();
        }
        String rest = match.group(5) == null ? "" : match.group(5);
        String text = path.toUri().getPath();
        return Optional.of(new TaskFolder(
                at(path, match.group(1)),
                UUID.fromString(match.group(2)),
                Integer.parseInt(match.group(4)),
                at(path, text.substring(0, text.length() - rest.length()))));
    }

    /**
     * Returns the name of the part that a file in this folder is stored as.
     *
     * @throws RedoubtException {@code sealed.header}: it cannot be a part's name
     */
    public String partName(Path file) throws RedoubtException {
        String rest = Paths.below(path, file);
        return Paths.partName("data/" + commit, rest + (attempt > 0 ? "~" + attempt : "") + ".sealed");
    }

    /** Returns where a file in this folder is stored. */
    public Path stored(Path file) throws RedoubtException {
        return new Path(root, new Path(null, null, partName(file)));
    }

    private static Path at(Path like, String path) {
        return new Path(like.toUri().getScheme(), like.toUri().getAuthority(), path);
    }
}
