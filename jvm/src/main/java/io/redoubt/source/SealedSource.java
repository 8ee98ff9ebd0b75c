package io.redoubt.source;

import java.util.Map;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableProvider;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.execution.datasources.v2.python.PythonDataSourceV2;
import org.apache.spark.sql.sources.DataSourceRegister;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * {@code format("sealed")}: the Python Data Source behind it, with column pruning, which Spark's Python API lacks.
 *
 * <p>Without it every column of every row would be turned from Arrow into Spark's rows, whatever a query asks for.
 */
public final class SealedSource implements TableProvider, DataSourceRegister {
    /** What {@code redoubt.spark.source} is registered as. */
    static final String IN_PYTHON = "redoubt_sealed";

    @Override
    public String shortName() {
        return "sealed";
    }

    @Override
    public StructType inferSchema(CaseInsensitiveStringMap options) {
        return inPython().inferSchema(options);
    }

    @Override
    public Table getTable(StructType schema, Transform[] partitioning, Map<String, String> properties) {
        return new SealedTable(schema);
    }

    @Override
    public boolean supportsExternalMetadata() {
        return true;
    }

    static PythonDataSourceV2 inPython() {
        PythonDataSourceV2 source = new PythonDataSourceV2();
        source.setShortName(IN_PYTHON);
        return source;
    }
}
