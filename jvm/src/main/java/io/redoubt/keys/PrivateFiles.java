package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;

/** Files of the endpoint folder: refused when anyone but this process's user owns, reads or writes them. */
final class PrivateFiles {
    private static final int OTHERS = 077;
    private static final int MAX_BYTES = 64 * 1024;
    private static final Path SELF = Path.of("/proc/self");

    private PrivateFiles() {}

    /** Checks a folder. */
    static void checkFolder(Path folder) throws RedoubtException {
        if (!Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
            throw new RedoubtException(ErrorCode.ENDPOINT_UNREACHABLE, "the endpoint folder " + folder + " does not exist");
        }
        check(folder);
    }

    /** Returns the content of a file, after checking it. */
    static byte[] read(Path file) throws RedoubtException {
        if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
            throw new RedoubtException(ErrorCode.ENDPOINT_UNREACHABLE, "the endpoint folder lacks " + file);
        }
        check(file);
        try {
            if (Files.size(file) > MAX_BYTES) {
                throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, file + " is longer than " + MAX_BYTES + " bytes");
            }
            return Files.readAllBytes(file);
        } catch (RedoubtException e) {
            throw e;
        } catch (IOException e) {
            throw new RedoubtException(ErrorCode.ENDPOINT_UNREACHABLE, file + " cannot be read", e);
        }
    }

    private static void check(Path path) throws RedoubtException {
        int mode;
        Object owner;
        Object self;
        try {
            mode = (Integer) Files.getAttribute(path, "unix:mode", LinkOption.NOFOLLOW_LINKS);
            owner = Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS);
            self = Files.getAttribute(SELF, "unix:uid");
        } catch (IOException | UnsupportedOperationException e) {
            throw new RedoubtException(ErrorCode.ENDPOINT_REFUSED, "the owner of " + path + " cannot be told", e);
        }
        if (!owner.equals(self)) {
            throw new RedoubtException(ErrorCode.ENDPOINT_REFUSED, path + " belongs to another user");
        }
        if ((mode & OTHERS) != 0) {
            throw new RedoubtException(ErrorCode.ENDPOINT_REFUSED, path + " can be read or written by others than its owner");
        }
    }
}
