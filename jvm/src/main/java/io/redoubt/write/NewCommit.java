package io.redoubt.write;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyEncryptor;
import io.redoubt.crypto.Header;
import io.redoubt.keys.CommitHead;
import io.redoubt.keys.DataKey;
import io.redoubt.keys.EndpointClient;
import io.redoubt.sealed.CommitRecord;
import io.redoubt.sealed.Dataset;
import io.redoubt.sealed.KeyFiles;
import io.redoubt.sealed.NewFile;
import io.redoubt.sealed.Part;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SortedMap;
import java.util.UUID;
import java.util.function.Predicate;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** The commit record of a write ({@code docs/format.md}, "Commit record"). */
final class NewCommit {
    private static final String RECORD_MEDIA_TYPE = "application/vnd.redoubt.commit+json";

    private final WriteJob job;
    private final UUID write;
    private final List<WrittenPart> added;
    private final Predicate<Part> replaced;
    private final String created = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();

    /** The record of {@code added} and of what was there, but for the parts that are {@code replaced}. */
    NewCommit(WriteJob job, UUID write, List<WrittenPart> added, Predicate<Part> replaced) {
        this.job = job;
        this.write = write;
        this.added = added;
        this.replaced = replaced;
    }

    /** Stores the record as successor of {@code head}; returns nothing if another record took its number. */
    Optional<CommitHead> publish(
            FileSystem fileSystem,
            Optional<Dataset> head,
            String operation,
            SortedMap<String, String> properties,
            Configuration conf)
            throws IOException {
        long number = head.map(dataset -> dataset.commit().number() + 1).orElse(1L);
        String name = "_commits/" + String.format(Locale.ROOT, "%08d", number);
        DataKey key = new KeyFiles(fileSystem, job.root(), job.dataset()).dataKey(job.dataKey(), conf);
        byte[] header = new Header(
                        Header.Purpose.COMMIT, key.id(), job.dataset(), job.commit(), name, RECORD_MEDIA_TYPE)
                .encode();
        byte[] plaintext = record(number, head, operation, properties).encode();
        ByteArrayOutputStream record = new ByteArrayOutputStream(header.length + plaintext.length + 1024);
        record.write(header);
        BodyEncryptor body = key.newBody(header, record);
        body.write(plaintext, 0, plaintext.length);
        body.finish();
        byte[] file = record.toByteArray();
        CommitHead published = new CommitHead(number, Dataset.digestOf(file));
        Path path = new Path(job.root(), name);
        try {
            EndpointClient.of(conf).announceHead(job.dataset(), published);
        } catch (RedoubtException e) {
            if (e.code().equals(ErrorCode.REGISTER_CONFLICT.code()) && fileSystem.exists(path)) {
                return Optional.empty();
            }
            throw e;
        }
        return NewFile.create(fileSystem, path, file) ? Optional.of(published) : Optional.empty();
    }

    private CommitRecord record(
            long number, Optional<Dataset> head, String operation, SortedMap<String, String> properties) {
        return new CommitRecord(
                job.dataset(),
                job.commit(),
                number,
                head.map(Dataset::commitDigest),
                operation,
                write,
                created,
                properties,
                parts(head.map(Dataset::commit)));
    }

    private List<Part> parts(Optional<CommitRecord> before) {
        List<Part> parts = new ArrayList<>(before.map(CommitRecord::parts).orElse(List.of()));
        parts.removeIf(replaced);
        for (WrittenPart part : added) {
            parts.add(new Part(
                    part.name(),
                    job.kind(),
                    job.commit(),
                    job.dataKey(),
                    job.dataset(),
                    part.length(),
                    part.prefix(),
                    part.sha256(),
                    part.mediaType()));
        }
        parts.sort(Comparator.comparing(part -> part.name().getBytes(StandardCharsets.UTF_8), Arrays::compareUnsigned));
        return parts;
    }
}
