package io.redoubt.write;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.Storage;
import java.io.IOException;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** The explicit choice to write in clear, or to read Parquet in clear, which holds outside of sealed datasets only. */
public final class PlaintextOption {
    /** Option of a read or write: {@code allow}, or {@code refuse}, the default. */
    public static final String NAME = "redoubt.plaintext";

    private PlaintextOption() {}

    /**
     * Returns whether plaintext was chosen.
     *
     * @throws RedoubtException {@code spark.option}: the option has another value
     */
    public static boolean chosen(Configuration configuration) throws RedoubtException {
        String value = configuration.getTrimmed(NAME, "refuse");
        return switch (value) {
            case "allow" -> true;
            case "refuse" -> false;
            default -> throw new RedoubtException(
                    ErrorCode.OPTION_REFUSED, NAME + "=" + value + ": known are allow and refuse");
        };
    }

    /**
     * Checks that a file may be plaintext, after it was chosen.
     *
     * @throws RedoubtException {@code sealed.plaintext}: the file lies in a sealed dataset
     */
    public static void check(Path file, Configuration configuration) throws IOException {
        Optional<Path> root = Dataset.rootOf(Storage.of(file, configuration), file);
        if (root.isPresent()) {
            throw new RedoubtException(
                    ErrorCode.PLAINTEXT, NAME + "=allow does not hold within the sealed dataset " + root.get());
        }
    }
}
