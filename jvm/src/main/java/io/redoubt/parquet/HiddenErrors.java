package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;

/**
 * Refuses reads in which Spark would turn a refusal into missing rows: with {@code ignoreCorruptFiles} or {@code
 * ignoreMissingFiles}, by option or session, it skips files that throw an exception. What is thrown here is an {@link Error},
 * which it does not skip.
 */
final class HiddenErrors extends Error {
    private static final long serialVersionUID = 1L;
    private static final List<String> SETTINGS = List.of("ignoreCorruptFiles", "ignoreMissingFiles");

    private HiddenErrors(RedoubtException cause) {
        super(cause.getMessage(), cause);
    }

    static void refuse(Configuration configuration) {
        for (String setting : SETTINGS) {
            if (isOn(configuration, setting)) {
                throw new HiddenErrors(new RedoubtException(
                        ErrorCode.OPTION_REFUSED,
                        setting + " would turn a refused part into missing rows; set it to false for sealed tables"));
            }
        }
    }

    /** An option of the read comes before the session's setting; Spark may have put its name into lower case. */
    private static boolean isOn(Configuration configuration, String setting) {
        for (String name : List.of(setting, setting.toLowerCase(Locale.ROOT), "spark.sql.files." + setting)) {
            String value = configuration.getTrimmed(name);
            if (value != null) {
                return !value.equalsIgnoreCase("false");
            }
        }
        return false;
    }
}
