package io.redoubt.write;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.Storage;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.ChecksumFileSystem;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** What is done with the files of a write when they are complete, so that a commit record may list them. */
public final class TaskFiles {
    private static final String PARQUET_MEDIA_TYPE = "application/vnd.apache.parquet";
    private static final int BUFFER_BYTES = 1 << 20;

    private TaskFiles() {}

    /** Makes a file that this task has written durable, and returns what the commit lists of it. */
    public static WrittenPart finish(Path file, WriteJob job, Configuration conf) throws IOException {
        FileSystem fileSystem = Storage.of(file, conf);
        if (file.getFileSystem(conf) instanceof ChecksumFileSystem checked) {
            // Hadoop's .crc files would be orphans beside the parts.
            fileSystem.delete(checked.getChecksumFile(file), false);
        }
        sync(fileSystem, file, StandardOpenOption.WRITE);
        MessageDigest digest = sha256();
        long length = 0;
        byte[] buffer = new byte[BUFFER_BYTES];
        try (InputStream in = fileSystem.open(file)) {
            for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
                digest.update(buffer, 0, count);
                length += count;
            }
        }
        String name = Paths.partName(job.prefix(), Paths.inOutput(file));
        return new WrittenPart(name, length, "", HexFormat.of().formatHex(digest.digest()), PARQUET_MEDIA_TYPE);
    }

    /**
     * Checks that what tasks reported lies where the commit will list it: another job's committer in the same folder may have
     * removed it on the way.
     *
     * @throws RedoubtException {@code sealed.conflict}
     */
    public static void checkInPlace(WriteJob job, List<WrittenPart> parts, Configuration conf) throws IOException {
        FileSystem storage = Storage.of(job.root(), conf);
        for (WrittenPart part : parts) {
            Path file = new Path(job.root(), new Path(null, null, part.name()));
            if (!storage.exists(file) || storage.getFileStatus(file).getLen() != part.length()) {
                throw new RedoubtException(
                        ErrorCode.CONFLICT, "part " + part.name() + " of " + job.root() + " was lost before it was committed");
            }
        }
    }

    /** Makes the entries of the folders durable in which parts lie, up to the dataset. */
    public static void syncFolders(WriteJob job, List<WrittenPart> parts, Configuration conf) throws IOException {
        FileSystem fileSystem = Storage.of(job.root(), conf);
        Set<String> folders = new HashSet<>();
        for (WrittenPart part : parts) {
            String folder = part.name();
            while (folder.contains("/")) {
                folder = folder.substring(0, folder.lastIndexOf('/'));
                if (!folders.add(folder)) {
                    break;
                }
            }
        }
        for (String folder : folders) {
            sync(fileSystem, new Path(job.root(), folder), StandardOpenOption.READ);
        }
        sync(fileSystem, job.root(), StandardOpenOption.READ);
    }

    /** On a local disk only: other file systems are durable when a file is closed. */
    private static void sync(FileSystem fileSystem, Path path, StandardOpenOption mode) throws IOException {
        Path full = fileSystem.makeQualified(path);
        if (full.toUri().getScheme().equals("file")) {
            try (FileChannel channel = FileChannel.open(java.nio.file.Path.of(full.toUri().getPath()), mode)) {
                channel.force(true);
            }
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("this Java runtime lacks SHA-256", e);
        }
    }
}
