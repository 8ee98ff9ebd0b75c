package io.redoubt.commit;

import java.io.IOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.JobStatus;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitter;

/** {@link SealedRddCommitter} for Hadoop's newer output formats. */
final class SealedPathCommitter extends PathOutputCommitter {
    private final Path output;
    private final TaskAttemptContext context;
    private RddWrite write;

    SealedPathCommitter(Path output, TaskAttemptContext context) throws IOException {
        super(output, context);
        this.output = output;
        this.context = context;
    }

    @Override
    public Path getOutputPath() {
        return output;
    }

    @Override
    public Path getWorkPath() throws IOException {
        return RddWrite.workPath(context.getTaskAttemptID(), context.getConfiguration());
    }

    @Override
    public void setupJob(JobContext job) throws IOException {
        write = RddWrite.begin(output, job.getConfiguration());
    }

    @Override
    public void commitJob(JobContext job) throws IOException {
        write.commit(job.getConfiguration());
    }

    @Override
    public void abortJob(JobContext job, JobStatus.State state) throws IOException {
        if (write != null) {
            write.abort();
        }
    }

    @Override
    public void setupTask(TaskAttemptContext task) {}

    @Override
    public boolean needsTaskCommit(TaskAttemptContext task) {
        return true;
    }

    @Override
    public void commitTask(TaskAttemptContext task) throws IOException {
        RddWrite.commitTask(task.getTaskAttemptID(), task.getConfiguration());
    }

    @Override
    public void abortTask(TaskAttemptContext task) throws IOException {
        RddWrite.abortTask(task.getTaskAttemptID(), task.getConfiguration());
    }
}
