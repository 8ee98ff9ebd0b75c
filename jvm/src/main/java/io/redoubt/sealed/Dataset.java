package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyGeometry;
import io.redoubt.crypto.Header;
import io.redoubt.keys.CommitHead;
import io.redoubt.keys.DataKey;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * A sealed dataset at its head commit ({@code docs/format.md}, "Dataset"), for readers that are given the path of a file: what
 * the authenticated commit record says of it. Holds no key. That the head is the newest commit ever made is known as far as
 * {@link Freshness} can tell.
 */
public final class Dataset {
    private static final int MAX_COMMIT_BYTES = 256 * 1024 * 1024;
    private static final String MEDIA_TYPE = "application/vnd.redoubt.commit+json";

    private final FileSystem fileSystem;
    private final Path root;
    private final CommitRecord commit;
    private final String commitDigest;
    private DatasetView view;

    private Dataset(FileSystem fileSystem, Path root, CommitRecord commit, String commitDigest) {
        this.fileSystem = fileSystem;
        this.root = root;
        this.commit = commit;
        this.commitDigest = commitDigest;
    }

    /**
     * Returns the ancestor of {@code file} that holds commit records, if there is one. Datasets do not nest: of two such ancestors
     * the storage could choose which one the file is checked against, so neither is believed.
     *
     * @throws RedoubtException {@code sealed.identity}: more than one ancestor holds commit records
     */
    public static Optional<Path> rootOf(FileSystem fileSystem, Path file) throws IOException {
        Path root = null;
        for (Path folder = file.getParent(); folder != null; folder = folder.getParent()) {
            if (!fileSystem.exists(commits(folder))) {
                continue;
            }
            if (root != null) {
                throw new RedoubtException(
                        ErrorCode.IDENTITY_MISMATCH,
                        file + " lies in two sealed datasets, " + root + " and " + folder
                                + ": one was laid there, or the commit records of one do not belong there");
            }
            root = folder;
        }
        return Optional.ofNullable(root);
    }

    /**
     * Returns the dataset that {@code file} lies in, at its head commit; what was read of it is kept in this JVM.
     *
     * @throws RedoubtException {@code sealed.no_commit}: the file lies in no dataset; {@code sealed.identity}: it lies in two;
     *     or as {@link #open}
     */
    public static Dataset containing(FileSystem fileSystem, Path file, Configuration configuration) throws IOException {
        Path root = rootOf(fileSystem, file)
                .orElseThrow(() -> new RedoubtException(ErrorCode.NO_COMMIT, file + " lies in no sealed dataset"));
        return DatasetCache.get(fileSystem, root, configuration);
    }

    /**
     * Reads the head commit of the dataset at {@code root}, with keys from the job's key endpoint.
     *
     * @throws RedoubtException {@code sealed.*}: no commit, or one that is not authentic; {@code broker.rollback}: the dataset is
     *     older than the register says; {@code key.*}, {@code endpoint.*}
     */
    public static Dataset open(FileSystem fileSystem, Path root, Configuration configuration) throws IOException {
        return Freshness.check(fileSystem, read(fileSystem, root, configuration), configuration);
    }

    /** Reads the head commit as {@link #open}, without asking the register. */
    static Dataset read(FileSystem fileSystem, Path root, Configuration configuration) throws IOException {
        Path commits = commits(root);
        NavigableSet<Long> numbers = NumberedFiles.list(fileSystem, commits);
        if (numbers.isEmpty()) {
            throw new RedoubtException(ErrorCode.NO_COMMIT, root + " holds no commit record");
        }
        long head = numbers.last();
        if (numbers.first() != 1 || numbers.size() != head) {
            throw new RedoubtException(
                    ErrorCode.COMMIT_INVALID, "a commit record before " + head + " of " + root + " is missing");
        }
        return read(fileSystem, root, head, configuration);
    }

    /** Reads one commit, which need not be the head. */
    static Dataset read(FileSystem fileSystem, Path root, long number, Configuration configuration) throws IOException {
        byte[] file = NumberedFiles.read(fileSystem, NumberedFiles.path(commits(root), number), MAX_COMMIT_BYTES);
        CommitRecord commit = CommitCodec.decode(decrypt(fileSystem, root, number, file, configuration));
        Header header = header(file);
        if (commit.number() != number
                || !commit.id().equals(header.commitId())
                || !commit.dataset().equals(header.datasetId())) {
            throw new RedoubtException(ErrorCode.COMMIT_INVALID, "commit record " + number + " contradicts its header");
        }
        return new Dataset(fileSystem, root, commit, digestOf(file));
    }

    /** The folder of the dataset. */
    public Path root() {
        return root;
    }

    /** The head commit. */
    public CommitRecord commit() {
        return commit;
    }

    /** The head's commit digest, {@code sha256:<hex>}, to compare with the one that the writer published. */
    public String commitDigest() {
        return commitDigest;
    }

    /** The head as the register of heads knows it. */
    public CommitHead head() {
        return new CommitHead(commit.number(), commitDigest);
    }

    /** Returns the name of a file below the root. */
    public String nameOf(Path file) {
        String base = Path.getPathWithoutSchemeAndAuthority(root).toUri().getPath();
        String path = Path.getPathWithoutSchemeAndAuthority(file).toUri().getPath();
        if (!path.startsWith(base.endsWith("/") ? base : base + "/")) {
            throw new IllegalArgumentException(file + " does not lie below " + root);
        }
        return path.substring(base.endsWith("/") ? base.length() : base.length() + 1);
    }

    /**
     * Returns what the head commit lists about a file below the root, by the part's own name or the one that is shown.
     *
     * @throws RedoubtException {@code sealed.part_unlisted}: it lists nothing
     */
    public Part part(Path file) throws RedoubtException {
        String name = nameOf(file);
        return view().file(name)
                .map(DatasetView.Shown::part)
                .orElseThrow(() -> new RedoubtException(
                        ErrorCode.PART_UNLISTED, name + " is not listed in commit " + commit.number() + " of " + root));
    }

    /** Returns the files and folders that a program sees. */
    public synchronized DatasetView view() throws RedoubtException {
        if (view == null) {
            view = new DatasetView(commit);
        }
        return view;
    }

    /** Returns where a part is stored. */
    public Path fileOf(Part part) {
        return new Path(root, new Path(null, null, part.name()));
    }

    /** Returns a data key of this dataset, unwrapped by the job's key endpoint. */
    public DataKey key(UUID dataKey, Configuration configuration) throws IOException {
        return new KeyFiles(fileSystem, root, commit.dataset()).dataKey(dataKey, configuration);
    }

    static Path commits(Path root) {
        return new Path(root, "_commits");
    }

    private static byte[] decrypt(FileSystem fileSystem, Path root, long number, byte[] file, Configuration configuration)
            throws IOException {
        Header header = header(file);
        byte[] context = header.encode();
        String name = "_commits/" + NumberedFiles.path(root, number).getName();
        Header expected = new Header(
                Header.Purpose.COMMIT, header.dataKeyId(), header.datasetId(), header.commitId(), name, MEDIA_TYPE);
        if (!header.equals(expected)) {
            throw new RedoubtException(ErrorCode.IDENTITY_MISMATCH, name + " of " + root + " is another file");
        }
        byte[] prefix = Arrays.copyOfRange(file, context.length, Math.min(file.length, context.length + BodyGeometry.PREFIX));
        DataKey key = new KeyFiles(fileSystem, root, header.datasetId()).dataKey(header.dataKeyId(), configuration);
        BodyGeometry geometry = BodyGeometry.of(file.length - context.length);
        int body = context.length + BodyGeometry.PREFIX;
        ChunkReader chunks = new ChunkReader(
                new ByteArrayInputStream(file, body, file.length - body),
                key.openBody(context, prefix),
                context.length,
                Optional.of(geometry));
        byte[] plaintext = new byte[Math.toIntExact(geometry.plaintextLength())];
        chunks.read(Math.toIntExact(geometry.chunkCount()), plaintext);
        return plaintext;
    }

    private static Header header(byte[] file) throws RedoubtException {
        return Header.parse(Arrays.copyOf(file, Math.min(file.length, Header.lengthOf(file))));
    }

    /** Returns the commit digest of a record, {@code sha256:<hex>}; {@code file} is all of its file. */
    public static String digestOf(byte[] file) {
        try {
            return "sha256:" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(file));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("this Java runtime lacks SHA-256", e);
        }
    }
}
