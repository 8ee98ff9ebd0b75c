package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Locale;
import java.util.NavigableSet;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Files whose names are numbers of 8 decimal digits, from 1: commit records, and generations of a key file. */
final class NumberedFiles {
    private static final Pattern NAME = Pattern.compile("[0-9]{8}");

    private NumberedFiles() {}

    static Path path(Path folder, long number) {
        return new Path(folder, String.format(Locale.ROOT, "%08d", number));
    }

    /** Returns the numbers in a folder; names of another form are passed over. */
    static NavigableSet<Long> list(FileSystem fileSystem, Path folder) throws IOException {
        NavigableSet<Long> numbers = new TreeSet<>();
        for (FileStatus file : fileSystem.listStatus(folder)) {
            String name = file.getPath().getName();
            if (NAME.matcher(name).matches()) {
                numbers.add(Long.parseLong(name));
            }
        }
        return numbers;
    }

    /** Returns the content of a file of at most {@code limit} bytes. */
    static byte[] read(FileSystem fileSystem, Path file, int limit) throws IOException {
        try (InputStream in = fileSystem.open(file)) {
            byte[] content = in.readNBytes(limit + 1);
            if (content.length > limit) {
                throw new RedoubtException(ErrorCode.HEADER_INVALID, file + " is longer than " + limit + " bytes");
            }
            return content;
        }
    }
}
