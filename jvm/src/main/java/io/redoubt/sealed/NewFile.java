package io.redoubt.sealed;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.util.UUID;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Small files that are created only if absent: what commit records and key files stand on. */
public final class NewFile {
    private NewFile() {}

    /**
     * Stores a file durably, or returns false and changes nothing if its name is taken. On a local disk the file appears whole,
     * by a link; elsewhere creation is as exclusive as the file system's own.
     */
    public static boolean create(FileSystem fileSystem, Path path, byte[] content) throws IOException {
        if (fileSystem.makeQualified(path).toUri().getScheme().equals("file")) {
            return createLocal(java.nio.file.Path.of(path.toUri().getPath()), content);
        }
        try (OutputStream out = fileSystem.create(path, false)) {
            out.write(content);
            return true;
        } catch (org.apache.hadoop.fs.FileAlreadyExistsException e) {
            return false;
        }
    }

    private static boolean createLocal(java.nio.file.Path path, byte[] content) throws IOException {
        java.nio.file.Path folder = Files.createDirectories(path.toAbsolutePath().getParent());
        java.nio.file.Path temporary = folder.resolve("." + path.getFileName() + "." + UUID.randomUUID());
        try {
            try (FileChannel out =
                    FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                ByteBuffer rest = ByteBuffer.wrap(content);
                while (rest.hasRemaining()) {
                    out.write(rest);
                }
                out.force(true);
            }
            Files.createLink(path, temporary);
        } catch (FileAlreadyExistsException e) {
            return false;
        } finally {
            Files.deleteIfExists(temporary);
        }
        sync(folder);
        return true;
    }

    private static void sync(java.nio.file.Path folder) throws IOException {
        try (FileChannel entries = FileChannel.open(folder, StandardOpenOption.READ)) {
            entries.force(true);
        }
    }
}
