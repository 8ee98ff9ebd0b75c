package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Dataset;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.MRJobConfig;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.parquet.crypto.EncryptionPropertiesFactory;
import org.apache.parquet.hadoop.ParquetOutputFormat;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/**
 * How Spark's DataFrame writer ends a write of sealed Parquet ({@code spark.sql.sources.commitProtocolClass}). Writes of other
 * formats, and Parquet in clear by {@code redoubt.plaintext=allow}, pass through unchanged.
 *
 * <ol>
 *   <li>{@code setupJob}, on the driver: an unmodified {@code df.write.parquet} gets its data keys and ids here; one by {@code
 *       redoubt.spark} brings them along.
 *   <li>{@code commitTask}: each file is made durable, hashed, and reported to the driver on Spark's own channel.
 *   <li>{@code commitJob}, on the driver: the commit record lists what tasks reported, never what the folder shows.
 * </ol>
 *
 * <p>Refused, because names of parts would not be known while they are written: custom partition locations, and overwriting
 * single partitions, statically or dynamically.
 */
public final class SealedCommitProtocol extends SQLHadoopMapReduceCommitProtocol {
    private static final long serialVersionUID = 1L;

    private final String output;
    private final boolean dynamicPartitionOverwrite;
    private final List<String> written = new ArrayList<>();
    private transient NativeWrite nativeWrite;

    /** Made by Spark, for one write. */
    public SealedCommitProtocol(String jobId, String path, boolean dynamicPartitionOverwrite) {
        super(jobId, path, dynamicPartitionOverwrite);
        this.output = path;
        this.dynamicPartitionOverwrite = dynamicPartitionOverwrite;
    }

    @Override
    public void setupJob(JobContext context) {
        Configuration conf = context.getConfiguration();
        Sneaky.run(() -> {
            if (!isSealed(conf)) {
                return;
            }
            if (dynamicPartitionOverwrite) {
                throw new RedoubtException(
                        ErrorCode.OPTION_REFUSED, "partitionOverwriteMode=dynamic is not supported on sealed tables");
            }
            if (!WriteJob.isConfigured(conf)) {
                nativeWrite = NativeWrite.begin(new Path(output), conf);
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
        if (!Sneaky.get(() -> isSealed(context.getConfiguration()))) {
            return super.getFilename(context, spec);
        }
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
        if (Sneaky.get(() -> isSealed(context.getConfiguration()))) {
            throw Sneaky.raise(new RedoubtException(
                    ErrorCode.OPTION_REFUSED,
                    "partitions of a sealed table lie in its own folder, not at custom locations such as " + folder));
        }
        return super.newTaskTempFileAbsPath(context, folder, spec);
    }

    @Override
    public TaskCommitMessage commitTask(TaskAttemptContext context) {
        Configuration conf = context.getConfiguration();
        ArrayList<WrittenPart> parts = new ArrayList<>();
        Sneaky.run(() -> {
            if (isSealed(conf)) {
                WriteJob job = WriteJob.of(conf);
                for (String file : written) {
                    parts.add(TaskFiles.finish(new Path(file), job, conf));
                }
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
            if (isSealed(conf)) {
                WriteJob job = WriteJob.of(conf);
                TaskFiles.syncFolders(job, parts, conf);
                if (nativeWrite != null) {
                    nativeWrite.commit(parts, conf);
                } else {
                    ManagedWrites.put(job.commit(), parts);
                }
            }
        });
    }

    /** Spark deletes what a write overwrites. A whole dataset may go; a part of one would leave a broken commit. */
    @Override
    public boolean deleteWithJob(FileSystem fileSystem, Path path, boolean recursive) {
        Optional<Path> root = Sneaky.get(() -> Dataset.rootOf(fileSystem, path));
        if (root.isPresent()) {
            throw Sneaky.raise(new RedoubtException(
                    ErrorCode.OPTION_REFUSED,
                    path + " is a part of the sealed dataset " + root.get() + ": overwrite the dataset as a whole"));
        }
        return super.deleteWithJob(fileSystem, path, recursive);
    }

    private static boolean isSealed(Configuration conf) throws IOException {
        return conf.get(ParquetOutputFormat.WRITE_SUPPORT_CLASS) != null
                && SealedCryptoFactory.class.getName()
                        .equals(conf.getTrimmed(EncryptionPropertiesFactory.CRYPTO_FACTORY_CLASS_PROPERTY_NAME))
                && !PlaintextOption.chosen(conf);
    }

    /** What a task tells the driver: Spark's own message, and the parts. */
    private record Report(TaskCommitMessage ofSpark, ArrayList<WrittenPart> parts) implements java.io.Serializable {}
}
