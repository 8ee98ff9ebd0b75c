package io.redoubt.source;

import java.util.List;
import org.apache.spark.TaskContext;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.connector.read.InputPartition;
import org.apache.spark.sql.connector.read.PartitionReader;
import org.apache.spark.sql.connector.read.PartitionReaderFactory;
import org.apache.spark.sql.execution.datasources.v2.python.PythonCustomMetric$;
import org.apache.spark.sql.execution.datasources.v2.python.PythonInputPartition;
import org.apache.spark.sql.execution.datasources.v2.python.PythonPartitionReaderFactory;
import org.apache.spark.sql.execution.datasources.v2.python.UserDefinedPythonDataSource;
import org.apache.spark.sql.execution.metric.SQLMetric;
import org.apache.spark.sql.execution.python.ArrowPythonRunner;
import org.apache.spark.sql.execution.python.MapInBatchEvaluatorFactory;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import scala.Option;
import scala.collection.Iterator;
import scala.collection.immutable.Map;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Runs a split's Python reader in a Python worker, as {@code PythonPartitionReaderFactory} of Spark 4.3 does with the same runner,
 * and leaves its batches as they are.
 */
final class ColumnarReaderFactory implements PartitionReaderFactory {
    private static final long serialVersionUID = 1L;

    private final UserDefinedPythonDataSource source;
    private final byte[] reader;
    private final StructType columns;
    private final Option<String> artifacts;
    private final Option<String> session;

    ColumnarReaderFactory(PythonPartitionReaderFactory rows) {
        // Scala gives fields that its closures read public names.
        source = rows.org$apache$spark$sql$execution$datasources$v2$python$PythonPartitionReaderFactory$$source;
        reader = rows.org$apache$spark$sql$execution$datasources$v2$python$PythonPartitionReaderFactory$$pickledReadFunc;
        columns = rows.org$apache$spark$sql$execution$datasources$v2$python$PythonPartitionReaderFactory$$outputSchema;
        artifacts = rows.org$apache$spark$sql$execution$datasources$v2$python$PythonPartitionReaderFactory$$jobArtifactUUID;
        session = rows.org$apache$spark$sql$execution$datasources$v2$python$PythonPartitionReaderFactory$$sessionUUID;
    }

    @Override
    public boolean supportColumnarReads(InputPartition partition) {
        return true;
    }

    @Override
    public PartitionReader<InternalRow> createReader(InputPartition partition) {
        throw new UnsupportedOperationException("only columnar reads are planned");
    }

    @Override
    public PartitionReader<ColumnarBatch> createColumnarReader(InputPartition partition) {
        Map<String, SQLMetric> metrics = PythonCustomMetric$.MODULE$.pythonMetrics();
        StructType input = UserDefinedPythonDataSource.readInputSchema();
        MapInBatchEvaluatorFactory made = source.createMapInBatchEvaluatorFactory(
                reader, "read_from_data_source", input, columns, metrics, artifacts, session);
        ArrowPythonRunner runner = new ArrowPythonRunner(
                made.org$apache$spark$sql$execution$python$MapInBatchEvaluatorFactory$$chainedFunc,
                made.org$apache$spark$sql$execution$python$MapInBatchEvaluatorFactory$$pythonEvalType,
                new int[][] {{0}},
                new StructType().add("struct", input),
                made.org$apache$spark$sql$execution$python$MapInBatchEvaluatorFactory$$sessionLocalTimeZone,
                made.org$apache$spark$sql$execution$python$MapInBatchEvaluatorFactory$$largeVarTypes,
                made.org$apache$spark$sql$execution$python$MapInBatchEvaluatorFactory$$pythonRunnerConf,
                metrics,
                artifacts,
                session);
        PythonInputPartition split = (PythonInputPartition) partition;
        InternalRow row = row(row(split.pickedPartition()));
        TaskContext task = TaskContext.get();
        Iterator<ColumnarBatch> batches = runner.compute(one(one(row)), task.partitionId(), task);
        return new ColumnarReader(batches, source, metrics);
    }

    private static InternalRow row(Object value) {
        return new GenericInternalRow(new Object[] {value});
    }

    private static <T> Iterator<T> one(T value) {
        return CollectionConverters.asScala(List.of(value).iterator());
    }
}
