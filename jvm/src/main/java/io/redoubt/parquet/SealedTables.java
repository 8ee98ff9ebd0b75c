package io.redoubt.parquet;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.fs.ReadOptions;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.crypto.DecryptionPropertiesFactory;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.util.CaseInsensitiveMap;
import org.apache.spark.sql.catalyst.util.CaseInsensitiveMap$;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.execution.datasources.HadoopFsRelation;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import scala.Option;
import scala.Tuple2;
import scala.jdk.javaapi.CollectionConverters;

/** Reads of sealed Parquet tables that {@code redoubt.spark} has planned: exactly the parts of a commit that it authenticated. */
public final class SealedTables {
    private SealedTables() {}

    /**
     * Returns a DataFrame over the parts of one commit.
     *
     * @param location the dataset's folder
     * @param dataset the dataset's id
     * @param commitDigest digest of the commit record that lists the parts
     * @param parts JSON object of lengths by names of parts
     * @param schema JSON of the schema that the commit records; null to take it from the parts' footers
     * @param userOptions options of the read
     */
    public static Dataset<Row> read(
            SparkSession spark,
            String location,
            String dataset,
            String commitDigest,
            String parts,
            String schema,
            Map<String, String> userOptions)
            throws IOException {
        Path given = new Path(location);
        Path root = given.getFileSystem(spark.sessionState().newHadoopConf()).makeQualified(given);
        Map<String, String> settings = new HashMap<>(userOptions);
        settings.put(DecryptionPropertiesFactory.CRYPTO_FACTORY_CLASS_PROPERTY_NAME, SealedCryptoFactory.class.getName());
        settings.put(ReadOptions.ROOT, root.toString());
        settings.put(ReadOptions.DATASET, dataset);
        settings.put(ReadOptions.COMMIT, commitDigest);
        settings.put("ignoreCorruptFiles", "false");
        settings.put("ignoreMissingFiles", "false");
        CaseInsensitiveMap<String> options =
                CaseInsensitiveMap$.MODULE$.apply(scala.collection.immutable.Map.from(CollectionConverters.asScala(settings)));
        Option<StructType> recorded =
                schema == null ? Option.empty() : Option.apply((StructType) StructType.fromJson(schema));
        SealedFileIndex index = new SealedFileIndex(spark, root, commitDigest, lengths(parts), options, recorded);
        StructType full = (recorded.isDefined() ? recorded.get() : inferred(spark, options, index, root)).asNullable();
        StructType partitions = index.partitionSchema();
        StructType data = new StructType(Arrays.stream(full.fields())
                .filter(field -> !partitions.getFieldIndex(field.name()).isDefined())
                .toArray(StructField[]::new));
        return spark.baseRelationToDataFrame(new HadoopFsRelation(
                index, partitions, data, Option.empty(), new ParquetFileFormat(), options, spark));
    }

    private static StructType inferred(
            SparkSession spark, CaseInsensitiveMap<String> options, SealedFileIndex index, Path root) throws RedoubtException {
        CaseInsensitiveMap<String> merging = options.$plus(Tuple2.apply("mergeSchema", "true"));
        Option<StructType> schema = new ParquetFileFormat().inferSchema(spark, merging, index.allFiles());
        if (schema.isEmpty()) {
            throw new RedoubtException(ErrorCode.OPTION_REFUSED, root + " has no parts to take a schema from: give one");
        }
        return schema.get();
    }

    private static Map<String, Long> lengths(String json) throws JsonProcessingException {
        return new ObjectMapper().readValue(json, new TypeReference<LinkedHashMap<String, Long>>() {});
    }
}
