package io.redoubt.commit;

import java.io.IOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapred.FileOutputCommitter;
import org.apache.hadoop.mapred.FileOutputFormat;
import org.apache.hadoop.mapred.JobConf;
import org.apache.hadoop.mapred.JobContext;
import org.apache.hadoop.mapred.TaskAttemptContext;

/**
 * The committer of {@code saveAsTextFile}, {@code saveAsHadoopFile} and the like ({@code mapred.output.committer.class}): the output
 * is a sealed dataset, or by the grant {@code redoubt.plaintext=allow} what Hadoop's committer makes.
 */
public final class SealedRddCommitter extends FileOutputCommitter {
    private RddWrite write;

    /** Made by Hadoop, in driver and tasks. */
    public SealedRddCommitter() {}

    @Override
    public Path getWorkPath(TaskAttemptContext context, Path output) throws IOException {
        return isOrdinary(context.getJobConf())
                ? super.getWorkPath(context, output)
                : RddWrite.workPath(context.getTaskAttemptID(), context.getJobConf());
    }

    @Override
    public void setupJob(JobContext context) throws IOException {
        if (isOrdinary(context.getJobConf())) {
            super.setupJob(context);
        } else {
            write = RddWrite.begin(FileOutputFormat.getOutputPath(context.getJobConf()), context.getJobConf());
        }
    }

    @Override
    public void commitJob(JobContext context) throws IOException {
        if (isOrdinary(context.getJobConf())) {
            super.commitJob(context);
        } else {
            write.commit(context.getJobConf());
        }
    }

    @Override
    public void abortJob(JobContext context, int state) throws IOException {
        if (isOrdinary(context.getJobConf())) {
            super.abortJob(context, state);
        } else if (write != null) {
            write.abort();
        }
    }

    @Override
    public void setupTask(TaskAttemptContext context) throws IOException {
        if (isOrdinary(context.getJobConf())) {
            super.setupTask(context);
        }
    }

    @Override
    public boolean needsTaskCommit(TaskAttemptContext context) throws IOException {
        return !isOrdinary(context.getJobConf()) || super.needsTaskCommit(context);
    }

    @Override
    public void commitTask(TaskAttemptContext context) throws IOException {
        if (isOrdinary(context.getJobConf())) {
            super.commitTask(context);
        } else {
            RddWrite.commitTask(context.getTaskAttemptID(), context.getJobConf());
        }
    }

    @Override
    public void abortTask(TaskAttemptContext context) throws IOException {
        if (isOrdinary(context.getJobConf())) {
            super.abortTask(context);
        } else {
            RddWrite.abortTask(context.getTaskAttemptID(), context.getJobConf());
        }
    }

    /** Output formats without files, which write to databases and the like, are none of ours. */
    private static boolean isOrdinary(JobConf conf) throws IOException {
        return FileOutputFormat.getOutputPath(conf) == null || RddWrite.isOrdinary(conf);
    }
}
