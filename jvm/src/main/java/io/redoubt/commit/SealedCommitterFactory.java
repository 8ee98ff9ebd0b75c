package io.redoubt.commit;

import java.io.IOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitter;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitterFactory;

/**
 * Makes the committers of {@code saveAsNewAPIHadoopFile} and the like ({@code mapreduce.outputcommitter.factory.class}); by the grant
 * {@code redoubt.plaintext=allow}, Hadoop's.
 */
public final class SealedCommitterFactory extends PathOutputCommitterFactory {
    @Override
    public PathOutputCommitter createOutputCommitter(Path output, TaskAttemptContext context) throws IOException {
        return output == null || RddWrite.isOrdinary(context.getConfiguration())
                ? createFileOutputCommitter(output, context)
                : new SealedPathCommitter(output, context);
    }
}
