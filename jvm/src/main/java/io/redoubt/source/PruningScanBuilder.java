package io.redoubt.source;

import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.spark.sql.connector.read.Scan;
import org.apache.spark.sql.connector.read.SupportsPushDownRequiredColumns;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/** Takes down which columns a query needs. Whole ones: a record is read by its whole schema, nested fields included. */
final class PruningScanBuilder implements SupportsPushDownRequiredColumns {
    private final SealedTable table;
    private final StructType schema;
    private final CaseInsensitiveStringMap options;
    private StructType columns;

    PruningScanBuilder(SealedTable table, StructType schema, CaseInsensitiveStringMap options) {
        this.table = table;
        this.schema = schema;
        this.options = options;
        this.columns = schema;
    }

    @Override
    public void pruneColumns(StructType required) {
        List<StructField> fields = Arrays.asList(schema.fields());
        Set<String> names = new HashSet<>(Arrays.asList(required.fieldNames()));
        boolean ambiguous = new HashSet<>(Arrays.asList(schema.fieldNames())).size() != fields.size();
        if (ambiguous || fields.isEmpty()) {
            return;
        }
        if (names.isEmpty()) {
            // Rows are counted by some column: the one that is the least to carry.
            names.add(fields.stream()
                    .min(Comparator.comparingInt(field -> field.dataType().defaultSize()))
                    .orElseThrow()
                    .name());
        }
        columns = new StructType(
                fields.stream().filter(field -> names.contains(field.name())).toArray(StructField[]::new));
    }

    @Override
    public Scan build() {
        return table.scan(columns, options);
    }
}
