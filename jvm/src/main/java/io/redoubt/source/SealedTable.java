package io.redoubt.source;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.connector.catalog.Column;
import org.apache.spark.sql.connector.catalog.SupportsRead;
import org.apache.spark.sql.connector.catalog.SupportsWrite;
import org.apache.spark.sql.connector.catalog.TableCapability;
import org.apache.spark.sql.connector.read.Scan;
import org.apache.spark.sql.connector.read.ScanBuilder;
import org.apache.spark.sql.connector.write.LogicalWriteInfo;
import org.apache.spark.sql.connector.write.WriteBuilder;
import org.apache.spark.sql.execution.datasources.v2.python.PythonDataSourceReadInfo;
import org.apache.spark.sql.execution.datasources.v2.python.PythonDataSourceV2;
import org.apache.spark.sql.execution.datasources.v2.python.PythonTable;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;
import scala.collection.immutable.Seq;

/**
 * One sealed dataset of a DataFrame. All its scans read the splits of one plan, whichever columns each asks for: a DataFrame that is
 * joined with itself must not see two commits.
 */
final class SealedTable implements SupportsRead, SupportsWrite {
    /** Option by which Python learns the schema of the files, where it is asked for some columns of it only. */
    private static final String SCHEMA_OF_FILES = "redoubt.schema";

    private final StructType schema;
    private final PythonTable inPython;
    private final Map<StructType, PythonDataSourceV2> sources = new HashMap<>();
    private Seq<byte[]> splits;

    SealedTable(StructType schema) {
        this.schema = schema;
        this.inPython = table(SealedSource.inPython(), schema);
    }

    @Override
    public String name() {
        return "sealed";
    }

    @Override
    public Column[] columns() {
        return inPython.columns();
    }

    @Override
    public Set<TableCapability> capabilities() {
        return inPython.capabilities();
    }

    @Override
    public ScanBuilder newScanBuilder(CaseInsensitiveStringMap options) {
        return new PruningScanBuilder(this, schema, options);
    }

    @Override
    public WriteBuilder newWriteBuilder(LogicalWriteInfo info) {
        return inPython.newWriteBuilder(info);
    }

    /** Returns the scan of {@code columns}, which are fields of the table's schema in its order. */
    synchronized Scan scan(StructType columns, CaseInsensitiveStringMap options) {
        Map<String, String> told = new HashMap<>(options.asCaseSensitiveMap());
        if (!columns.equals(schema)) {
            told.put(SCHEMA_OF_FILES, schema.json());
        }
        CaseInsensitiveStringMap forPython = new CaseInsensitiveStringMap(told);
        PythonDataSourceV2 source = sources.computeIfAbsent(columns, key -> SealedSource.inPython());
        PythonDataSourceReadInfo planned = source.getOrCreateReadInfo(SealedSource.IN_PYTHON, forPython, columns, false);
        if (splits == null) {
            splits = planned.partitions();
        }
        source.setReadInfo(new PythonDataSourceReadInfo(planned.func(), splits));
        return new ColumnarScan(table(source, columns).newScanBuilder(forPython).build());
    }

    private static PythonTable table(PythonDataSourceV2 source, StructType schema) {
        return new PythonTable(source, SealedSource.IN_PYTHON, schema);
    }
}
