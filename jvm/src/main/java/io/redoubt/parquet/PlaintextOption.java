package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import java.io.IOException;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** The explicit choice to read or write a Parquet file in clear, which holds outside of sealed datasets only. */
final class PlaintextOption {
    /** Option of a read or write: {@code allow}, or {@code refuse}, the default. */
    static final String NAME = "redoubt.plaintext";

    private PlaintextOption() {}

    /**
     * Returns whether plaintext was chosen.
     *
     * @throws RedoubtException {@code spark.option}: the option has another value
     */
    static boolean chosen(Configuration configuration) throws RedoubtException {
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
    static void check(Path file, Configuration configuration) throws IOException {
        Optional<Path> root = Dataset.rootOf(file.getFileSystem(configuration), file);
        if (root.isPresent()) {
            throw new RedoubtException(
                    Refusal.PLAINTEXT, NAME + "=allow does not hold within the sealed dataset " + root.get());
        }
    }
}
