package io.redoubt.fs;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.sealed.DatasetView.Shown;
import io.redoubt.write.DatasetWrite;
import io.redoubt.write.PartOutputStream;
import io.redoubt.write.TaskFolder;
import java.io.IOException;
import java.util.EnumSet;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileChecksum;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Options.ChecksumOpt;
import org.apache.hadoop.fs.Options.Rename;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.PathFilter;
import org.apache.hadoop.fs.RemoteIterator;
import org.apache.hadoop.fs.impl.OpenFileParameters;
import org.apache.hadoop.fs.permission.FsAction;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.LambdaUtils;
import org.apache.hadoop.util.Progressable;
import org.apache.hadoop.util.functional.RemoteIterators;

/**
 * Hadoop's file system for {@code file:}, in which sealed datasets are seen as their commit records list them ({@code
 * fs.file.impl}; {@code docs/adr/0015-file-system.md}). A path is one of four things:
 *
 * <ul>
 *   <li>in a dataset, a name that a program sees: answered from the authenticated record, opened by {@link PartOpener};
 *   <li>in a dataset, one of its own or Hadoop's working folders ({@link Place#RESERVED}): as it is stored;
 *   <li>in the folder of a task that writes to a dataset: sealed by {@link PartOutputStream};
 *   <li>anything else: as in Hadoop's own file system, but that an attempt of a Hadoop job writes no plaintext without the grant
 *       {@code redoubt.plaintext=allow}.
 * </ul>
 *
 * <p>It must not be cached by Hadoop ({@code fs.file.impl.disable.cache}): an instance acts by the options of its use.
 */
public final class SealedFileSystem extends LocalFileSystem {
    /** Where a path lies, and the dataset if it lies in one. */
    private Place place(Path path) throws IOException {
        return Place.of(getRawFileSystem(), makeQualified(path), getConf());
    }

    @Override
    public FileStatus getFileStatus(Path path) throws IOException {
        Path file = makeQualified(path);
        Optional<TaskFolder> task = TaskFolder.containing(file);
        if (task.isPresent() && !task.get().path().equals(file)) {
            return getRawFileSystem().getFileStatus(task.get().stored(file));
        }
        Place place = place(path);
        // Of the dataset itself nothing but that it is there: that needs no key.
        return place.isShown() && !place.isRoot() ? place.view().status() : super.getFileStatus(path);
    }

    @Override
    public FileStatus getFileLinkStatus(Path path) throws IOException {
        return place(path).isShown() ? getFileStatus(path) : super.getFileLinkStatus(path);
    }

    @Override
    public void access(Path path, FsAction mode) throws IOException {
        if (place(path).isShown()) {
            getFileStatus(path);
        } else {
            super.access(path, mode);
        }
    }

    @Override
    public FileStatus[] listStatus(Path path) throws IOException {
        Place place = place(path);
        place.refuseRemains();
        return place.isShown() ? place.view().list() : super.listStatus(path);
    }

    @Override
    public RemoteIterator<FileStatus> listStatusIterator(Path path) throws IOException {
        return RemoteIterators.remoteIteratorFromArray(listStatus(path));
    }

    @Override
    public RemoteIterator<LocatedFileStatus> listLocatedStatus(Path path) throws IOException {
        return listLocatedStatus(path, any -> true);
    }

    @Override
    protected RemoteIterator<LocatedFileStatus> listLocatedStatus(Path path, PathFilter filter) throws IOException {
        RemoteIterator<FileStatus> files = RemoteIterators.filteringRemoteIterator(
                RemoteIterators.remoteIteratorFromArray(listStatus(path)), status -> filter.accept(status.getPath()));
        return RemoteIterators.mappingRemoteIterator(
                files,
                status -> new LocatedFileStatus(
                        status, status.isFile() ? getFileBlockLocations(status, 0, status.getLen()) : null));
    }

    @Override
    public FSDataInputStream open(Path path, int bufferSize) throws IOException {
        Place place = place(path);
        place.refuseRemains();
        if (!place.isShown()) {
            return super.open(path, bufferSize);
        }
        Shown file = place.view().file();
        return new PartOpener(getRawFileSystem(), place.view().dataset(), getConf()).open(file, bufferSize);
    }

    @Override
    protected CompletableFuture<FSDataInputStream> openFileWithOptions(Path path, OpenFileParameters parameters)
            throws IOException {
        return LambdaUtils.eval(new CompletableFuture<>(), () -> open(path, parameters.getBufferSize()));
    }

    @Override
    public FileChecksum getFileChecksum(Path path, long length) throws IOException {
        return place(path).isShown() ? null : super.getFileChecksum(path, length);
    }

    @Override
    public FSDataOutputStream create(
            Path path,
            FsPermission permission,
            boolean overwrite,
            int bufferSize,
            short replication,
            long blockSize,
            Progressable progress)
            throws IOException {
        Optional<FSDataOutputStream> sealed = sealed(path, overwrite);
        return sealed.isPresent()
                ? sealed.get()
                : super.create(path, permission, overwrite, bufferSize, replication, blockSize, progress);
    }

    @Override
    public FSDataOutputStream create(
            Path path,
            FsPermission permission,
            EnumSet<CreateFlag> flags,
            int bufferSize,
            short replication,
            long blockSize,
            Progressable progress,
            ChecksumOpt checksum)
            throws IOException {
        Optional<FSDataOutputStream> sealed = sealed(path, flags.contains(CreateFlag.OVERWRITE));
        return sealed.isPresent()
                ? sealed.get()
                : super.create(path, permission, flags, bufferSize, replication, blockSize, progress, checksum);
    }

    @Override
    public FSDataOutputStream createNonRecursive(
            Path path,
            FsPermission permission,
            EnumSet<CreateFlag> flags,
            int bufferSize,
            short replication,
            long blockSize,
            Progressable progress)
            throws IOException {
        Optional<FSDataOutputStream> sealed = sealed(path, flags.contains(CreateFlag.OVERWRITE));
        return sealed.isPresent()
                ? sealed.get()
                : super.createNonRecursive(path, permission, flags, bufferSize, replication, blockSize, progress);
    }

    @Override
    public FSDataOutputStream createNonRecursive(
            Path path,
            FsPermission permission,
            boolean overwrite,
            int bufferSize,
            short replication,
            long blockSize,
            Progressable progress)
            throws IOException {
        Optional<FSDataOutputStream> sealed = sealed(path, overwrite);
        return sealed.isPresent()
                ? sealed.get()
                : super.createNonRecursive(path, permission, overwrite, bufferSize, replication, blockSize, progress);
    }

    /** For {@code FileContext}. */
    @Override
    protected FSDataOutputStream primitiveCreate(
            Path path,
            FsPermission permission,
            EnumSet<CreateFlag> flags,
            int bufferSize,
            short replication,
            long blockSize,
            Progressable progress,
            ChecksumOpt checksum)
            throws IOException {
        Optional<FSDataOutputStream> sealed = sealed(path, flags.contains(CreateFlag.OVERWRITE));
        return sealed.isPresent()
                ? sealed.get()
                : super.primitiveCreate(path, permission, flags, bufferSize, replication, blockSize, progress, checksum);
    }

    @Override
    public FSDataOutputStream append(Path path, int bufferSize, Progressable progress) throws IOException {
        refuseInDataset(path, "appended to");
        return super.append(path, bufferSize, progress);
    }

    @Override
    public boolean truncate(Path path, long length) throws IOException {
        refuseInDataset(path, "truncated");
        return super.truncate(path, length);
    }

    @Override
    public boolean rename(Path from, Path to) throws IOException {
        checkRename(from, to);
        return super.rename(from, to);
    }

    /** For {@code FileContext}. */
    @Override
    @SuppressWarnings("deprecation")
    protected void rename(Path from, Path to, Rename... options) throws IOException {
        checkRename(from, to);
        super.rename(from, to, options);
    }

    private void checkRename(Path from, Path to) throws IOException {
        if (place(from).isShown() && !place(from).isRoot()) {
            throw place(from).refused("renamed: a part's name is authenticated");
        }
        // Hadoop's committers move finished files out of their working folders; until a commit lists them, nobody sees them.
        if (place(to).isShown() && !place(to).isRoot() && !place(from).isReserved()) {
            throw place(to).refused("a target: write to the dataset");
        }
    }

    @Override
    public boolean delete(Path path, boolean recursive) throws IOException {
        Place place = place(path);
        if (!place.isShown() || place.isRoot()) {
            return super.delete(path, recursive);
        }
        Optional<String> folder = place.view().partitionFolder();
        if (folder.isPresent() && recursive) {
            // What catalogs do for DROP PARTITION: a commit without these parts.
            DatasetWrite.remove(place.view().dataset(), folder.get(), getConf());
            return true;
        }
        if (place.exists()) {
            throw place.refused("deleted: overwrite its dataset, or delete that as a whole");
        }
        return false;
    }

    @Override
    public boolean mkdirs(Path path, FsPermission permission) throws IOException {
        Place place = place(path);
        return place.isShown() && !place.isRoot() || super.mkdirs(path, permission);
    }

    @Override
    public boolean mkdirs(Path path) throws IOException {
        Place place = place(path);
        return place.isShown() && !place.isRoot() || super.mkdirs(path);
    }

    private Optional<FSDataOutputStream> sealed(Path path, boolean overwrite) throws IOException {
        Path file = makeQualified(path);
        Configuration conf = getConf();
        Optional<TaskFolder> task = TaskFolder.containing(file);
        if (task.isPresent()) {
            return Optional.of(new FSDataOutputStream(PartOutputStream.create(task.get(), file, overwrite, conf), statistics));
        }
        refuseInDataset(file, "written");
        OutputGuard.check(file, conf);
        return Optional.empty();
    }

    private void refuseInDataset(Path path, String what) throws IOException {
        Place place = place(path);
        if (place.isShown()) {
            throw place.refused(what);
        }
    }
}
