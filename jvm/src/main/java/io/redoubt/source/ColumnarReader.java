package io.redoubt.source;

import java.util.stream.IntStream;
import org.apache.spark.sql.connector.metric.CustomTaskMetric;
import org.apache.spark.sql.connector.read.PartitionReader;
import org.apache.spark.sql.execution.datasources.v2.python.UserDefinedPythonDataSource;
import org.apache.spark.sql.execution.metric.SQLMetric;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.vectorized.ArrowColumnVector;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import scala.Tuple2;
import scala.collection.Iterator;
import scala.collection.immutable.Map;
import scala.collection.immutable.Map$;

/** The batches of one split. The Python worker ends with the task, whose listeners Spark's runner has set. */
final class ColumnarReader implements PartitionReader<ColumnarBatch> {
    private final Iterator<ColumnarBatch> batches;
    private final UserDefinedPythonDataSource source;
    private final Map<String, SQLMetric> metrics;

    ColumnarReader(
            Iterator<ColumnarBatch> batches, UserDefinedPythonDataSource source, Map<String, SQLMetric> metrics) {
        this.batches = batches;
        this.source = source;
        this.metrics = metrics;
    }

    @Override
    public boolean next() {
        return batches.hasNext();
    }

    /** Returns a batch that is good until the next call: Python's answer is one struct, whose fields are the columns. */
    @Override
    public ColumnarBatch get() {
        ColumnarBatch batch = batches.next();
        ArrowColumnVector struct = (ArrowColumnVector) batch.column(0);
        int columns = struct.dataType() instanceof StructType type ? type.size() : 0;
        ColumnVector[] fields = IntStream.range(0, columns)
                .mapToObj(struct::getChild)
                .map(BorrowedColumn::new)
                .toArray(ColumnVector[]::new);
        return new ColumnarBatch(fields, batch.numRows());
    }

    @Override
    public void close() {}

    @Override
    public CustomTaskMetric[] currentMetricsValues() {
        return source.createPythonTaskMetrics(Map$.MODULE$.from(
                metrics.iterator().map(entry -> new Tuple2<>(entry._1(), (Object) entry._2().value()))));
    }
}
