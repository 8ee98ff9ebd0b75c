package io.redoubt.hadoop;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.rdd.InputFileBlockHolder;

/**
 * The file that the current Spark task reads. Hadoop gives a codec a stream without a name; Spark's readers of single files
 * note the name in {@link InputFileBlockHolder} before they open it. The answer is a hint: whoever uses it compares what is
 * authentic in the stream with what belongs to that name.
 */
record TaskFile(FileSystem fileSystem, FileStatus status) {
    /** Returns the file, or nothing outside Spark and in readers of several files at once. */
    static Optional<TaskFile> current(Configuration configuration) throws IOException {
        String noted = noted();
        Optional<TaskFile> found = Optional.empty();
        for (Path path : readings(noted)) {
            FileSystem fileSystem = path.getFileSystem(configuration);
            try {
                TaskFile file = new TaskFile(fileSystem, fileSystem.getFileStatus(path));
                if (found.isPresent()) {
                    return Optional.empty();
                }
                found = Optional.of(file);
            } catch (FileNotFoundException e) {
                // Not this reading of the text.
                continue;
            }
        }
        return found;
    }

    Path path() {
        return status.getPath();
    }

    /** Spark SQL notes paths URL-encoded, RDDs as they are: a text with an escape has two readings. */
    private static Set<Path> readings(String noted) {
        Set<Path> readings = new LinkedHashSet<>();
        if (!noted.isEmpty()) {
            readings.add(new Path(noted));
            try {
                readings.add(new Path(new URI(noted)));
            } catch (URISyntaxException e) {
                // A path that is no URI has one reading.
                return readings;
            }
        }
        return readings;
    }

    private static String noted() {
        try {
            return InputFileBlockHolder.getInputFilePath().toString();
        } catch (NoClassDefFoundError e) {
            // Spark is absent: another Hadoop program uses the codec.
            return "";
        }
    }
}
