package io.redoubt.parquet;

import io.redoubt.write.Paths;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.execution.datasources.NoopCache$;
import org.apache.spark.sql.execution.datasources.PartitionSpec;
import org.apache.spark.sql.execution.datasources.PartitioningAwareFileIndex;
import org.apache.spark.sql.types.StructType;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Spark's view of which files a table has, from a commit record: nothing is listed, so files that the storage hides, adds or shows
 * with another length change nothing in the plan. Partition folders are seen as if they lay directly in the dataset, whichever
 * commit wrote them.
 */
final class SealedFileIndex extends PartitioningAwareFileIndex {
    private final Path root;
    private final String commitDigest;
    private final Map<Path, FileStatus> files = new LinkedHashMap<>();
    private final Map<Path, List<FileStatus>> folders = new LinkedHashMap<>();
    private PartitionSpec partitions;

    /**
     * @param root the dataset, a qualified path
     * @param parts lengths of files by names of parts
     */
    SealedFileIndex(
            SparkSession spark,
            Path root,
            String commitDigest,
            Map<String, Long> parts,
            scala.collection.immutable.Map<String, String> options,
            Option<StructType> schema) {
        super(spark, options, schema, NoopCache$.MODULE$);
        this.root = root;
        this.commitDigest = commitDigest;
        parts.forEach((name, length) -> {
            Path path = new Path(root, new Path(null, null, name));
            FileStatus file = new FileStatus(length, false, 1, Math.max(length, 1), 0, path);
            String inTable = Paths.Managed.of(name).map(Paths.Managed::rest).orElse(name);
            files.put(path, file);
            folders.computeIfAbsent(new Path(root, new Path(null, null, inTable)).getParent(), key -> new ArrayList<>())
                    .add(file);
        });
    }

    @Override
    public scala.collection.immutable.Seq<Path> rootPaths() {
        return CollectionConverters.asScala(List.of(root)).toSeq();
    }

    @Override
    public synchronized PartitionSpec partitionSpec() {
        if (partitions == null) {
            partitions = inferPartitioning();
        }
        return partitions;
    }

    @Override
    public scala.collection.mutable.LinkedHashMap<Path, FileStatus> leafFiles() {
        scala.collection.mutable.LinkedHashMap<Path, FileStatus> map = new scala.collection.mutable.LinkedHashMap<>();
        files.forEach(map::put);
        return map;
    }

    @Override
    public scala.collection.immutable.Map<Path, FileStatus[]> leafDirToChildrenFiles() {
        Map<Path, FileStatus[]> map = new LinkedHashMap<>();
        folders.forEach((folder, list) -> map.put(folder, list.toArray(FileStatus[]::new)));
        return scala.collection.immutable.Map.from(CollectionConverters.asScala(map));
    }

    /** Nothing: the index is of one commit. */
    @Override
    public void refresh() {}

    @Override
    public boolean equals(Object other) {
        return other instanceof SealedFileIndex index
                && index.root.equals(root)
                && index.commitDigest.equals(commitDigest);
    }

    @Override
    public int hashCode() {
        return commitDigest.hashCode();
    }
}
