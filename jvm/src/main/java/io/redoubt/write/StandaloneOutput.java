package io.redoubt.write;

import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** The choice of a write to make standalone sealed files with Redoubt's codec, which no commit lists. */
public final class StandaloneOutput {
    private static final String CODEC = "io.redoubt.hadoop.SealedCodec";
    private static final String COMPRESS = "mapreduce.output.fileoutputformat.compress";

    private StandaloneOutput() {}

    /** Whether a write has the codec compress its files. */
    public static boolean chosen(Configuration conf) {
        return conf.getBoolean(COMPRESS, false) && CODEC.equals(conf.getTrimmed(COMPRESS + ".codec"));
    }

    /** Whether a file bears the name that the codec's files have. */
    public static boolean named(Path file) {
        return file.getName().endsWith(".sealed");
    }
}
