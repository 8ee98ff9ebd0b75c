package io.redoubt.commit;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.write.PlaintextOption;
import io.redoubt.write.Sneaky;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.spark.sql.execution.streaming.ManifestFileCommitProtocol;

/**
 * How file sinks of streaming queries end a batch ({@code spark.sql.streaming.commitProtocolClass}): as Spark does, by the grant
 * {@code redoubt.plaintext=allow}. They keep a log of their own beside the files, and no commit record can be made of it.
 */
public final class StreamCommitProtocol extends ManifestFileCommitProtocol {
    private static final long serialVersionUID = 1L;

    /** Made by Spark, for one batch. */
    public StreamCommitProtocol(String jobId, String path) {
        super(jobId, path);
    }

    @Override
    public void setupJob(JobContext context) {
        if (!Sneaky.get(() -> PlaintextOption.chosen(context.getConfiguration()))) {
            throw Sneaky.raise(new RedoubtException(
                    ErrorCode.PLAINTEXT, "a streaming query's file sink writes in clear: write with foreachBatch, or grant it"));
        }
        super.setupJob(context);
    }
}
