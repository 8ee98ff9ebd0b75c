package io.redoubt.write;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.PartName;
import java.util.Optional;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.Path;

/** From paths of files to names of parts. */
public final class Paths {
    private static final Pattern MANAGED =
            Pattern.compile("data/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(.+)", Pattern.DOTALL);
    private static final Pattern ATTEMPT = Pattern.compile("/_temporary/\\d+/_temporary/attempt_[^/]+/");

    private Paths() {}

    /** A name of the form {@code data/<commit id>/<rest>}. */
    public record Managed(UUID commit, String rest) {
        /** Returns the parts of such a name; nothing for any other. */
        public static Optional<Managed> of(String name) {
            Matcher match = MANAGED.matcher(name);
            return match.matches()
                    ? Optional.of(new Managed(UUID.fromString(match.group(1)), match.group(2)))
                    : Optional.empty();
        }
    }

    /**
     * Returns the name of a file below {@code root}.
     *
     * @throws RedoubtException {@code sealed.part_unlisted}: it does not lie there
     */
    public static String below(Path root, Path file) throws RedoubtException {
        String base = root.toUri().getPath();
        String path = file.toUri().getPath();
        String start = base.endsWith("/") ? base : base + "/";
        if (!path.startsWith(start)) {
            throw new RedoubtException(ErrorCode.PART_UNLISTED, file + " does not lie in the sealed dataset " + root);
        }
        return path.substring(start.length());
    }

    /**
     * Returns where a file that a task writes will lie, relative to the job's output: partition folders and file name.
     *
     * @throws RedoubtException {@code spark.option}: it is not in a task attempt's folder, so nothing says where it will lie
     */
    public static String inOutput(Path temporary) throws RedoubtException {
        String path = temporary.toUri().getPath();
        Matcher match = ATTEMPT.matcher(path);
        int end = -1;
        while (match.find()) {
            end = match.end();
        }
        if (end < 0) {
            throw new RedoubtException(
                    ErrorCode.OPTION_REFUSED,
                    temporary + " is not written into a task attempt's folder: sealed Parquet needs Spark's DataFrame writer with"
                            + " spark.sql.sources.commitProtocolClass=" + WriteJob.PROTOCOL);
        }
        return path.substring(end);
    }

    /** Returns the name of a part, checked. */
    public static String partName(String prefix, String inOutput) throws RedoubtException {
        return PartName.check(prefix.isEmpty() ? inOutput : prefix + "/" + inOutput);
    }
}
