package io.redoubt.fs;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.write.PlaintextOption;
import io.redoubt.write.StandaloneOutput;
import io.redoubt.write.WriteJob;
import java.io.IOException;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Refuses plaintext of data writers that no commit protocol of ours took up: whatever Hadoop's committers have an attempt of a
 * task write lies in a folder of this form (hardening H15).
 */
final class OutputGuard {
    private static final Pattern ATTEMPT = Pattern.compile(".*/_temporary/[^/]+/_temporary/attempt_[^/]+/.+", Pattern.DOTALL);

    private OutputGuard() {}

    /**
     * Checks that a file may be written as it is.
     *
     * @throws RedoubtException {@code sealed.plaintext}: it is the output of a data writer, neither sealed nor granted
     */
    static void check(Path file, Configuration conf) throws IOException {
        boolean sealedInside = WriteJob.isConfigured(conf) || StandaloneOutput.chosen(conf) && StandaloneOutput.named(file);
        if (sealedInside || !ATTEMPT.matcher(file.toUri().getPath()).matches()) {
            return;
        }
        if (PlaintextOption.chosen(conf)) {
            PlaintextOption.check(file, conf);
        } else {
            throw new RedoubtException(
                    ErrorCode.PLAINTEXT,
                    file + " would be written in clear: the session lacks Redoubt's commit protocol or committers, or "
                            + PlaintextOption.NAME + "=allow was not given");
        }
    }
}
