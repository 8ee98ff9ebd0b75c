package io.redoubt.fs;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Part;
import io.redoubt.write.PlaintextOption;
import io.redoubt.write.StandaloneOutput;
import io.redoubt.write.WriteJob;
import java.io.IOException;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Refuses plaintext of data that no commit protocol of ours took up (hardening H9, H15): what Hadoop's committers and Spark's
 * partition overwrites have tasks write lies in a working folder, and the checkpoint of an RDD has a name of its own.
 */
final class OutputGuard {
    private static final Pattern WORKING = Pattern.compile(".*/(_temporary|\\.spark-staging-[^/]+)/.+", Pattern.DOTALL);
    private static final Pattern CHECKPOINT =
            Pattern.compile(".*/rdd-[0-9]+/\\.(part-[0-9]+-attempt-[0-9]+|_partitioner.*)", Pattern.DOTALL);

    private OutputGuard() {}

    /**
     * Checks that a file may be written as it is.
     *
     * @throws RedoubtException {@code sealed.plaintext}: it is data, neither sealed nor granted
     */
    static void check(Path file, Configuration conf) throws IOException {
        String path = file.toUri().getPath();
        boolean checkpoint = CHECKPOINT.matcher(path).matches();
        boolean sealedInside = isParquet(file, conf) || StandaloneOutput.chosen(conf) && StandaloneOutput.named(file);
        if (!checkpoint && (sealedInside || !WORKING.matcher(path).matches())) {
            return;
        }
        if (PlaintextOption.chosen(conf)) {
            PlaintextOption.check(file, conf);
            return;
        }
        String why = checkpoint
                ? "checkpoints of RDDs are not sealed; take localCheckpoint, or grant "
                : "the session lacks Redoubt's commit protocol or committers, or the write lacks ";
        throw new RedoubtException(
                ErrorCode.PLAINTEXT, file + " would be written in clear: " + why + PlaintextOption.NAME + "=allow");
    }

    /** Whether Parquet's own encryption seals the file: it does where the configuration carries a write of Parquet. */
    private static boolean isParquet(Path file, Configuration conf) throws IOException {
        if (!WriteJob.isConfigured(conf) || !file.getName().endsWith(".parquet")) {
            return false;
        }
        WriteJob job = WriteJob.of(conf);
        return job.kind() == Part.Kind.PARQUET
                && file.toUri().getPath().startsWith(job.root().toUri().getPath() + "/");
    }
}
