package io.redoubt.hadoop;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapred.JobConf;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.hadoop.mapreduce.lib.input.FileSplit;
import org.apache.hadoop.mapreduce.lib.input.LineRecordReader;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;
import org.apache.spark.rdd.InputFileBlockHolder;

/**
 * Property of the codec (hardening H28): whatever the splits, the lines of a sealed file are those of the plain file, each once
 * and in order. Crosses delimiters, line lengths, file lengths and alignments with split sizes and buffer sizes, through both of
 * Hadoop's line readers, with the file's path known and unknown. Prints the number of readings; any difference is an error.
 *
 * <p>Arguments: a key endpoint's folder, an empty folder to work in, and how many of the cases to take: every {@code n}th.
 */
public final class SplitCheck {
    private static final int CHUNK = 16384;
    private static final int BODY = 8192 + 56;
    private static final int SEALED_CHUNK = CHUNK + 16;

    private static final int[] LINE_LENGTHS = {1, 2, 3, 5, 17, 100, 1000, 4095, CHUNK - 1, CHUNK, CHUNK + 1, 40000};
    private static final int[] FILE_LENGTHS = {
        0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK, 50000, 5 * CHUNK, 83000
    };
    private static final int[] SPLIT_SIZES = {
        3000, 8191, BODY - 1, BODY, BODY + 1, SEALED_CHUNK - 1, SEALED_CHUNK, SEALED_CHUNK + 1, BODY + SEALED_CHUNK - 1,
        BODY + SEALED_CHUNK, BODY + SEALED_CHUNK + 1, 33000, 50000, Integer.MAX_VALUE
    };
    private static final int[] BUFFER_SIZES = {1000, 4096, CHUNK, 65536};
    /** Delimiters of the default reader; the last stands for a mixture of the others. */
    private static final String[] DEFAULT_DELIMITERS = {"\n", "\r\n", "\r", ""};
    private static final String[] CUSTOM_DELIMITERS = {"\u0001", "\r\n", "END", "||", "<-->"};

    private final Path folder;
    private final String endpoint;
    private final Map<Integer, JobConf> configurations = new HashMap<>();
    private long readings;

    private SplitCheck(String endpoint, Path folder) {
        this.endpoint = endpoint;
        this.folder = folder;
    }

    public static void main(String[] arguments) throws IOException {
        SplitCheck check = new SplitCheck(arguments[0], Path.of(arguments[1]));
        int stride = Integer.parseInt(arguments[2]);
        int number = 0;
        for (int length : FILE_LENGTHS) {
            for (int lineLength : LINE_LENGTHS) {
                for (int shift = 0; shift < 4; shift++) {
                    for (String delimiter : DEFAULT_DELIMITERS) {
                        if (number++ % stride == 0) {
                            check.file(number, content(length, lineLength, shift, delimiter, number), null);
                        }
                    }
                    for (String delimiter : CUSTOM_DELIMITERS) {
                        if (number++ % stride == 0) {
                            byte[] content = content(length, Math.max(lineLength, 3), shift, delimiter, number);
                            check.file(number, content, delimiter.getBytes(StandardCharsets.US_ASCII));
                        }
                    }
                }
            }
        }
        System.out.println(check.readings);
    }

    /** Lines of one length, the first one {@code shift} longer, cut off at {@code length}: half of the files end in a line. */
    private static byte[] content(int length, int lineLength, int shift, String delimiter, int seed) {
        Random random = new Random(seed);
        StringBuilder text = new StringBuilder(length + lineLength);
        text.append("x".repeat(shift));
        while (text.length() < length) {
            String end = delimiter.isEmpty() ? DEFAULT_DELIMITERS[random.nextInt(3)] : delimiter;
            // A line before "||" is never empty: "||||" cut in the middle is ambiguous for plain files too.
            for (int i = end.length(); i < Math.max(lineLength, delimiter.equals("||") ? 3 : 0); i++) {
                text.append((char) ('a' + random.nextInt(26)));
            }
            text.append(end);
        }
        text.setLength(length);
        return text.toString().getBytes(StandardCharsets.US_ASCII);
    }

    private void file(int number, byte[] content, byte[] delimiter) throws IOException {
        Path plain = folder.resolve("lines.txt");
        Path sealed = folder.resolve("lines.txt.sealed");
        Files.write(plain, content);
        try (OutputStream out = codec(4096).createOutputStream(Files.newOutputStream(sealed))) {
            out.write(content);
        }
        List<String> expected = read(plain, 0, content.length, delimiter, 65536, false);
        for (int i = 0; i < SPLIT_SIZES.length; i++) {
            int bufferSize = BUFFER_SIZES[(number + i) % BUFFER_SIZES.length];
            boolean oldApi = (number + i) % 3 == 0;
            boolean pathKnown = (number + i) % 2 == 0;
            if (pathKnown) {
                InputFileBlockHolder.set(sealed.toUri().toString(), 0, Files.size(sealed));
            } else {
                InputFileBlockHolder.unset();
            }
            List<String> found = inSplits(sealed, SPLIT_SIZES[i], delimiter, bufferSize, oldApi);
            if (!found.equals(expected)) {
                throw new IllegalStateException("case " + number + ", split size " + SPLIT_SIZES[i] + ", buffer " + bufferSize
                        + ", old API " + oldApi + ", path known " + pathKnown + ": " + found.size() + " lines instead of "
                        + expected.size() + ", delimiter " + Arrays.toString(delimiter));
            }
            readings++;
        }
    }

    private List<String> inSplits(Path file, int size, byte[] delimiter, int bufferSize, boolean oldApi) throws IOException {
        List<String> lines = new ArrayList<>();
        long length = Files.size(file);
        for (long start = 0; start < length; start += size) {
            lines.addAll(read(file, start, Math.min(size, length - start), delimiter, bufferSize, oldApi));
        }
        return lines;
    }

    private List<String> read(Path file, long start, long length, byte[] delimiter, int bufferSize, boolean oldApi)
            throws IOException {
        JobConf configuration = configuration(bufferSize);
        org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(file.toUri());
        List<String> lines = new ArrayList<>();
        if (oldApi) {
            org.apache.hadoop.mapred.FileSplit split =
                    new org.apache.hadoop.mapred.FileSplit(path, start, length, (String[]) null);
            try (org.apache.hadoop.mapred.LineRecordReader reader =
                    new org.apache.hadoop.mapred.LineRecordReader(configuration, split, delimiter)) {
                LongWritable key = new LongWritable();
                Text value = new Text();
                while (reader.next(key, value)) {
                    lines.add(value.toString());
                }
            }
        } else {
            try (LineRecordReader reader = new LineRecordReader(delimiter)) {
                reader.initialize(
                        new FileSplit(path, start, length, null),
                        new TaskAttemptContextImpl(configuration, new TaskAttemptID()));
                while (reader.nextKeyValue()) {
                    lines.add(reader.getCurrentValue().toString());
                }
            }
        }
        return lines;
    }

    private SealedCodec codec(int bufferSize) {
        SealedCodec codec = new SealedCodec();
        codec.setConf(configuration(bufferSize));
        return codec;
    }

    private JobConf configuration(int bufferSize) {
        return configurations.computeIfAbsent(bufferSize, size -> {
            JobConf configuration = new JobConf(false);
            configuration.set("fs.file.impl", "org.apache.hadoop.fs.LocalFileSystem");
            configuration.set("redoubt.endpoint", endpoint);
            configuration.setInt("io.file.buffer.size", size);
            return configuration;
        });
    }
}
