package io.redoubt.commit;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.fs.SealedFileSystem;
import io.redoubt.parquet.SealedCryptoFactory;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.Storage;
import io.redoubt.write.PlaintextOption;
import io.redoubt.write.Replaced;
import io.redoubt.write.Sneaky;
import io.redoubt.write.StandaloneOutput;
import java.io.IOException;
import java.io.Serializable;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.parquet.crypto.EncryptionPropertiesFactory;
import org.apache.parquet.hadoop.ParquetOutputFormat;
import org.apache.spark.internal.io.FileCommitProtocol;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol;
import scala.Option;
import scala.collection.immutable.Seq;

/**
 * How Spark's DataFrame writer ends a write ({@code spark.sql.sources.commitProtocolClass}): sealed, or by the grant {@code
 * redoubt.plaintext=allow} as Spark does. Which of them it is, and how the format is sealed, is known when the job is set up.
 *
 * <p>What Spark would delete of a sealed dataset, for it is overwritten, is noted and left out of the commit record. Refused,
 * because a dataset is one folder: custom locations of partitions.
 */
public final class SealedCommitProtocol extends FileCommitProtocol implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String jobId;
    private final String output;
    private final boolean dynamicPartitionOverwrite;
    private final HashSet<String> replacedFolders = new HashSet<>();
    private FileCommitProtocol chosen;

    /** Made by Spark, for one write. */
    public SealedCommitProtocol(String jobId, String path, boolean dynamicPartitionOverwrite) {
        this.jobId = jobId;
        this.output = path;
        this.dynamicPartitionOverwrite = dynamicPartitionOverwrite;
    }

    @Override
    public void setupJob(JobContext context) {
        chosen = Sneaky.get(() -> choose(context.getConfiguration()));
        chosen.setupJob(context);
    }

    private FileCommitProtocol choose(Configuration conf) throws IOException {
        Path folder = new Path(output);
        if (PlaintextOption.chosen(conf) || StandaloneOutput.chosen(conf)) {
            PlaintextOption.check(new Path(folder, "part"), conf);
            return new SQLHadoopMapReduceCommitProtocol(jobId, output, dynamicPartitionOverwrite);
        }
        if (!(folder.getFileSystem(conf) instanceof SealedFileSystem)) {
            throw new RedoubtException(
                    ErrorCode.PLAINTEXT,
                    output + " does not lie on a file system that seals (fs.file.impl=" + SealedFileSystem.class.getName() + ")");
        }
        Replaced replaced = new Replaced(Set.copyOf(replacedFolders), dynamicPartitionOverwrite);
        if (conf.get(ParquetOutputFormat.WRITE_SUPPORT_CLASS) == null) {
            return new PartsProtocol(jobId, output, replaced);
        }
        if (!SealedCryptoFactory.class
                .getName()
                .equals(conf.getTrimmed(EncryptionPropertiesFactory.CRYPTO_FACTORY_CLASS_PROPERTY_NAME))) {
            throw new RedoubtException(
                    ErrorCode.OPTION_REFUSED,
                    EncryptionPropertiesFactory.CRYPTO_FACTORY_CLASS_PROPERTY_NAME + " is not "
                            + SealedCryptoFactory.class.getName());
        }
        return new ParquetProtocol(jobId, output, replaced);
    }

    /** Notes what a write replaces of a sealed dataset; deletes what it replaces elsewhere, or by a write in clear. */
    @Override
    public boolean deleteWithJob(FileSystem fileSystem, Path path, boolean recursive) {
        return Sneaky.get(() -> {
            FileSystem storage = Storage.beneath(fileSystem);
            Path folder = storage.makeQualified(path);
            Optional<Path> root = Dataset.rootOf(storage, new Path(folder, "part"));
            if (root.isEmpty() || root.get().equals(folder) && inClear(fileSystem.getConf())) {
                return super.deleteWithJob(fileSystem, path, recursive);
            }
            if (!root.get().equals(storage.makeQualified(new Path(output)))) {
                throw new RedoubtException(
                        ErrorCode.OPTION_REFUSED, path + " is a part of the sealed dataset " + root.get() + ": write to that one");
            }
            String text = folder.toUri().getPath();
            String base = root.get().toUri().getPath();
            replacedFolders.add(text.equals(base) ? "" : text.substring(base.length() + 1));
            return true;
        });
    }

    private static boolean inClear(Configuration conf) throws RedoubtException {
        return PlaintextOption.chosen(conf) || StandaloneOutput.chosen(conf);
    }

    @Override
    public void commitJob(JobContext context, Seq<TaskCommitMessage> messages) {
        chosen.commitJob(context, messages);
    }

    @Override
    public void abortJob(JobContext context) {
        if (chosen != null) {
            chosen.abortJob(context);
        }
    }

    @Override
    public void setupTask(TaskAttemptContext context) {
        chosen.setupTask(context);
    }

    @Override
    public String newTaskTempFile(TaskAttemptContext context, Option<String> folder, FileNameSpec spec) {
        return chosen.newTaskTempFile(context, folder, spec);
    }

    @Override
    public String newTaskTempFileAbsPath(TaskAttemptContext context, String folder, FileNameSpec spec) {
        return chosen.newTaskTempFileAbsPath(context, folder, spec);
    }

    @Override
    @Deprecated
    public String newTaskTempFile(TaskAttemptContext context, Option<String> folder, String extension) {
        return newTaskTempFile(context, folder, new FileNameSpec("", extension));
    }

    @Override
    @Deprecated
    public String newTaskTempFileAbsPath(TaskAttemptContext context, String folder, String extension) {
        return newTaskTempFileAbsPath(context, folder, new FileNameSpec("", extension));
    }

    @Override
    public TaskCommitMessage commitTask(TaskAttemptContext context) {
        return chosen.commitTask(context);
    }

    @Override
    public void abortTask(TaskAttemptContext context) {
        chosen.abortTask(context);
    }
}
