package io.redoubt.parquet;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.write.PlaintextOption;
import io.redoubt.write.WriteJob;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.parquet.hadoop.ParquetOutputCommitter;
import org.apache.parquet.hadoop.ParquetOutputFormat;

/**
 * The output committer of sealed Parquet writes ({@code spark.sql.parquet.output.committer.class}). It writes neither summary
 * files, which would repeat footers in clear, nor {@code _SUCCESS}: the commit record says that a write has finished. Files move
 * from tasks' folders as with any committer; {@code SealedCommitProtocol} does the rest.
 */
public final class SealedOutputCommitter extends ParquetOutputCommitter {
    /** Made by Spark, in driver and tasks. */
    public SealedOutputCommitter(Path output, TaskAttemptContext context) throws IOException {
        super(output, context);
    }

    @Override
    public void setupJob(JobContext context) throws IOException {
        Configuration configuration = context.getConfiguration();
        if (!PlaintextOption.chosen(configuration)) {
            if (!WriteJob.isConfigured(configuration)) {
                throw new RedoubtException(
                        ErrorCode.OPTION_REFUSED,
                        "sealed Parquet writes need spark.sql.sources.commitProtocolClass=" + WriteJob.PROTOCOL);
            }
            configuration.setBoolean(SUCCESSFUL_JOB_OUTPUT_DIR_MARKER, false);
            configuration.set(ParquetOutputFormat.JOB_SUMMARY_LEVEL, "NONE");
        }
        super.setupJob(context);
    }
}
