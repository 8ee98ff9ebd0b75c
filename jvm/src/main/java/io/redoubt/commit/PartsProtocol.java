package io.redoubt.commit;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Part;
import io.redoubt.write.DatasetWrite;
import io.redoubt.write.Replaced;
import io.redoubt.write.Sneaky;
import io.redoubt.write.TaskFolder;
import io.redoubt.write.TaskOutput;
import io.redoubt.write.WriteJob;
import io.redoubt.write.WrittenPart;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.spark.internal.io.FileCommitProtocol;
import org.apache.spark.internal.io.FileNameSpec;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * A write of parts that the file system seals: csv, JSON, text, ORC and whatever else is written through Hadoop.
 *
 * <p>Attempts write where their parts stay, and report them with their results. Spark takes one result for each task, so an attempt
 * that lost, or was killed after it had committed, is in no record; no coordinator has to choose one before.
 */
final class PartsProtocol extends FileCommitProtocol implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String jobId;
    private final String output;
    private final Replaced replaced;
    private transient DatasetWrite write;

    PartsProtocol(String jobId, String output, Replaced replaced) {
        this.jobId = jobId;
        this.output = output;
        this.replaced = replaced;
    }

    @Override
    public void setupJob(JobContext context) {
        Sneaky.run(() -> {
            write = DatasetWrite.begin(new Path(output), Part.Kind.PART, replaced, context.getConfiguration());
            write.job().store(context.getConfiguration());
        });
    }

    @Override
    public void setupTask(TaskAttemptContext context) {}

    @Override
    public String newTaskTempFile(TaskAttemptContext context, Option<String> folder, FileNameSpec spec) {
        int task = context.getTaskAttemptID().getTaskID().getId();
        String name = String.format(Locale.ROOT, "%spart-%05d-%s%s", spec.prefix(), task, jobId, spec.suffix());
        String below = folder.isDefined() ? folder.get() + "/" + name : name;
        return new Path(folder(context).path(), new Path(null, null, below)).toString();
    }

    @Override
    public String newTaskTempFileAbsPath(TaskAttemptContext context, String folder, FileNameSpec spec) {
        throw customLocation(folder);
    }

    static RuntimeException customLocation(String folder) {
        return Sneaky.raise(new RedoubtException(
                ErrorCode.OPTION_REFUSED,
                "partitions of a sealed table lie in its own folder, not at custom locations such as " + folder));
    }

    @Override
    @Deprecated
    public String newTaskTempFile(TaskAttemptContext context, Option<String> folder, String extension) {
        return newTaskTempFile(context, folder, new FileNameSpec("", extension));
    }

    @Override
    @Deprecated
    public String newTaskTempFileAbsPath(TaskAttemptContext context, String folder, String extension) {
        throw customLocation(folder);
    }

    @Override
    public TaskCommitMessage commitTask(TaskAttemptContext context) {
        return new TaskCommitMessage(new ArrayList<>(Sneaky.get(() -> TaskOutput.take(folder(context)))));
    }

    @Override
    public void abortTask(TaskAttemptContext context) {
        Sneaky.run(() -> TaskOutput.discard(folder(context), context.getConfiguration()));
    }

    @Override
    public void commitJob(JobContext context, Seq<TaskCommitMessage> messages) {
        List<WrittenPart> parts = new ArrayList<>();
        for (TaskCommitMessage message : CollectionConverters.asJava(messages)) {
            for (Object part : (List<?>) message.obj()) {
                parts.add((WrittenPart) part);
            }
        }
        Sneaky.run(() -> write.commit(parts, context.getConfiguration()));
    }

    @Override
    public void abortJob(JobContext context) {
        if (write != null) {
            Sneaky.run(write::discard);
        }
    }

    private static TaskFolder folder(TaskAttemptContext context) {
        TaskAttemptID attempt = context.getTaskAttemptID();
        WriteJob job = Sneaky.get(() -> WriteJob.of(context.getConfiguration()));
        return TaskFolder.of(job, attempt.getTaskID().getId(), attempt.getId());
    }
}
