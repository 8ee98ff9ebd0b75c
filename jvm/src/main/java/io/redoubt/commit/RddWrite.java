package io.redoubt.commit;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.fs.SealedFileSystem;
import io.redoubt.sealed.Part;
import io.redoubt.write.DatasetWrite;
import io.redoubt.write.PlaintextOption;
import io.redoubt.write.Replaced;
import io.redoubt.write.StandaloneOutput;
import io.redoubt.write.TaskFolder;
import io.redoubt.write.TaskOutput;
import io.redoubt.write.WriteJob;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptID;

/**
 * A write that an RDD makes through Hadoop's output formats, for both generations of their committers. Spark asks its commit
 * coordinator before an attempt commits, which admits one attempt of a task; the parts go to the driver in {@link TaskReports}.
 */
final class RddWrite {
    private final DatasetWrite write;

    private RddWrite(DatasetWrite write) {
        this.write = write;
    }

    /** Whether a write is to be in clear, or seals its files by Redoubt's codec: Hadoop's own committer is right for it. */
    static boolean isOrdinary(Configuration conf) throws RedoubtException {
        return PlaintextOption.chosen(conf) || StandaloneOutput.chosen(conf);
    }

    /** Makes the keys of a write and has the configuration carry them to its tasks. */
    static RddWrite begin(Path output, Configuration conf) throws IOException {
        if (!(output.getFileSystem(conf) instanceof SealedFileSystem)) {
            throw new RedoubtException(ErrorCode.PLAINTEXT, output + " does not lie on a file system that seals");
        }
        DatasetWrite write = DatasetWrite.begin(output, Part.Kind.PART, Replaced.NOTHING, conf);
        write.job().store(conf);
        TaskReports.open(write.job().commit());
        return new RddWrite(write);
    }

    static Path workPath(TaskAttemptID attempt, Configuration conf) throws IOException {
        return folder(attempt, conf).path();
    }

    static void commitTask(TaskAttemptID attempt, Configuration conf) throws IOException {
        TaskReports.send(WriteJob.of(conf).commit(), attempt.getTaskID().getId(), TaskOutput.take(folder(attempt, conf)));
    }

    static void abortTask(TaskAttemptID attempt, Configuration conf) throws IOException {
        TaskOutput.discard(folder(attempt, conf), conf);
    }

    void commit(Configuration conf) throws IOException {
        write.commit(TaskReports.close(write.job().commit()), conf);
    }

    void abort() throws IOException {
        TaskReports.close(write.job().commit());
        write.discard();
    }

    private static TaskFolder folder(TaskAttemptID attempt, Configuration conf) throws IOException {
        return TaskFolder.of(WriteJob.of(conf), attempt.getTaskID().getId(), attempt.getId());
    }
}
