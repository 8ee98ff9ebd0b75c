package io.redoubt.source;

import org.apache.spark.sql.connector.metric.CustomMetric;
import org.apache.spark.sql.connector.read.Batch;
import org.apache.spark.sql.connector.read.InputPartition;
import org.apache.spark.sql.connector.read.PartitionReaderFactory;
import org.apache.spark.sql.connector.read.Scan;
import org.apache.spark.sql.execution.datasources.v2.python.PythonPartitionReaderFactory;
import org.apache.spark.sql.types.StructType;

/**
 * A Python scan whose tasks hand Spark the Arrow batches that Python made. Spark's own hands on rows, each copied from all its
 * columns, before anything is filtered, aggregated or written.
 */
final class ColumnarScan implements Scan, Batch {
    private final Scan inPython;

    ColumnarScan(Scan inPython) {
        this.inPython = inPython;
    }

    @Override
    public StructType readSchema() {
        return inPython.readSchema();
    }

    @Override
    public String description() {
        return "sealed " + readSchema().simpleString();
    }

    @Override
    public ColumnarSupportMode columnarSupportMode() {
        return ColumnarSupportMode.SUPPORTED;
    }

    @Override
    public CustomMetric[] supportedCustomMetrics() {
        return inPython.supportedCustomMetrics();
    }

    @Override
    public Batch toBatch() {
        return this;
    }

    @Override
    public InputPartition[] planInputPartitions() {
        return inPython.toBatch().planInputPartitions();
    }

    @Override
    public PartitionReaderFactory createReaderFactory() {
        return new ColumnarReaderFactory((PythonPartitionReaderFactory) inPython.toBatch().createReaderFactory());
    }
}
