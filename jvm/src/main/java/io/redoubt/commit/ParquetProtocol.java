package io.redoubt.commit;

import io.redoubt.parquet.ManagedWrites;
import io.redoubt.sealed.Part;
import io.redoubt.write.DatasetWrite;
import io.redoubt.write.Replaced;
import io.redoubt.write.Sneaky;
import io.redoubt.write.TaskFiles;
import io.redoubt.write.WriteJob;
import io.redoubt.write.WrittenPart;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.MRJobConfig;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/**
 * A write of sealed Parquet, whose files Hadoop's committer moves into place.
 *
 * <ol>
 *   <li>{@code setupJob}, on the driver: an unmodified {@code df.write.parquet} gets its data keys and ids here; one by {@code
 *       redoubt.spark} brings them along.
 *   <li>{@code commitTask}: each file is made durable, hashed, and reported to the driver on Spark's own channel.
 *   <li>{@code commitJob}, on the driver: the commit record lists what tasks reported, never what the folder shows.
 * </ol>
 */
final class ParquetProtocol extends SQLHadoopMapReduceCommitProtocol {
    private static final long serialVersionUID = 1L;

    private final String output;
    private final Replaced replaced;
    private final List<String> written = new ArrayList<>();
    private transient DatasetWrite nativeWrite;

    ParquetProtocol(String jobId, String output, Replaced replaced) {
        // Partitions are replaced by the commit record, so files of such a write need no staging of Spark's.
        super(jobId, output, false);
        this.output = output;
        this.replaced = replaced;
    }

    @Override
    public void setupJob(JobContext context) {
        Configuration conf = context.getConfiguration();
        Sneaky.run(() -> {
            if (!WriteJob.isConfigured(conf)) {
                nativeWrite = DatasetWrite.begin(new Path(output), Part.Kind.PARQUET, replaced, conf);
                nativeWrite.job().store(conf);
                // Attempt 0 is every job's; its committer would move what a dead job's tasks left there along with ours.
                conf.setInt(MRJobConfig.APPLICATION_ATTEMPT_ID, ThreadLocalRandom.current().nextInt(1, Integer.MAX_VALUE));
            }
        });
        super.setupJob(context);
    }

    /** Names files so that two attempts of a task never make the same part. */
    @Override
    public String getFilename(TaskAttemptContext context, FileNameSpec spec) {
        String attempt = "-" + context.getTaskAttemptID().getId();
        return super.getFilename(context, new FileNameSpec(spec.prefix(), attempt + spec.suffix()));
    }

    @Override
    public void setupTask(TaskAttemptContext context) {
        written.clear();
        super.setupTask(context);
    }

    @Override
    public String newTaskTempFile(TaskAttemptContext context, Option<String> folder, FileNameSpec spec) {
        String file = super.newTaskTempFile(context, folder, spec);
        written.add(file);
        return file;
    }

    @Override
    public String newTaskTempFileAbsPath(TaskAttemptContext context, String folder, FileNameSpec spec) {
        throw PartsProtocol.customLocation(folder);
    }

    @Override
    public TaskCommitMessage commitTask(TaskAttemptContext context) {
        Configuration conf = context.getConfiguration();
        ArrayList<WrittenPart> parts = new ArrayList<>();
        Sneaky.run(() -> {
            WriteJob job = WriteJob.of(conf);
            for (String file : written) {
                parts.add(TaskFiles.finish(new Path(file), job, conf));
            }
        });
        return new TaskCommitMessage(new Report(super.commitTask(context), parts));
    }

    @Override
    public void commitJob(JobContext context, scala.collection.immutable.Seq<TaskCommitMessage> messages) {
        List<TaskCommitMessage> ofSpark = new ArrayList<>();
        List<WrittenPart> parts = new ArrayList<>();
        for (TaskCommitMessage message : CollectionConverters.asJava(messages)) {
            Report report = (Report) message.obj();
            ofSpark.add(report.ofSpark());
            parts.addAll(report.parts());
        }
        super.commitJob(context, CollectionConverters.asScala(ofSpark).toSeq());
        Configuration conf = context.getConfiguration();
        Sneaky.run(() -> {
            TaskFiles.checkInPlace(WriteJob.of(conf), parts, conf);
            if (nativeWrite != null) {
                nativeWrite.commit(parts, conf);
            } else {
                WriteJob job = WriteJob.of(conf);
                TaskFiles.syncFolders(job, parts, conf);
                ManagedWrites.put(job.commit(), parts);
            }
        });
    }

    @Override
    public void abortJob(JobContext context) {
        super.abortJob(context);
        if (nativeWrite != null) {
            Sneaky.run(nativeWrite::discard);
        }
    }

    /** What a task tells the driver: Spark's own message, and the parts. */
    private record Report(TaskCommitMessage ofSpark, ArrayList<WrittenPart> parts) implements java.io.Serializable {}
}
