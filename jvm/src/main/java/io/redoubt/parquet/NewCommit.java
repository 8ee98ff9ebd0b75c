package io.redoubt.parquet;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.redoubt.crypto.BodyEncryptor;
import io.redoubt.crypto.Header;
import io.redoubt.keys.DataKey;
import io.redoubt.sealed.CommitRecord;
import io.redoubt.sealed.Dataset;
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
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** The commit record of a native write ({@code docs/format.md}, "Commit record"). */
final class NewCommit {
    private static final String RECORD_MEDIA_TYPE = "application/vnd.redoubt.commit+json";
    private static final String PART_MEDIA_TYPE = "application/vnd.apache.parquet";

    /** With sorted members, RFC 8785 differs from Jackson's output in the case of hexadecimal digits only. */
    private static final JsonMapper CANONICAL =
            JsonMapper.builder().disable(JsonWriteFeature.WRITE_HEX_UPPER_CASE).build();

    private final WriteJob job;
    private final UUID write;
    private final List<WrittenPart> added;
    private final String created = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();

    NewCommit(WriteJob job, UUID write, List<WrittenPart> added) {
        this.job = job;
        this.write = write;
        this.added = added;
    }

    /** Stores the record as successor of {@code head}; returns false if another record took its number. */
    boolean publish(
            FileSystem fileSystem, Optional<Dataset> head, SortedMap<String, String> properties, Configuration conf)
            throws IOException {
        long number = head.map(dataset -> dataset.commit().number() + 1).orElse(1L);
        String name = "_commits/" + String.format(Locale.ROOT, "%08d", number);
        DataKey key = new KeyFolder(fileSystem, job.root(), job.dataset()).dataKey(job.footerKey(), conf);
        byte[] header = new Header(
                        Header.Purpose.COMMIT, key.id(), job.dataset(), job.commit(), name, RECORD_MEDIA_TYPE)
                .encode();
        byte[] plaintext = plaintext(number, head, properties);
        ByteArrayOutputStream record = new ByteArrayOutputStream(header.length + plaintext.length + 1024);
        record.write(header);
        BodyEncryptor body = key.newBody(header, record);
        body.write(plaintext, 0, plaintext.length);
        body.finish();
        return NewFile.create(fileSystem, new Path(job.root(), name), record.toByteArray());
    }

    private byte[] plaintext(long number, Optional<Dataset> head, SortedMap<String, String> properties)
            throws JsonProcessingException {
        Map<String, Object> commit = new TreeMap<>();
        commit.put("format", 1);
        commit.put("dataset", job.dataset().toString());
        commit.put("id", job.commit().toString());
        commit.put("number", number);
        commit.put("previous", head.map(Dataset::commitDigest).orElse(null));
        commit.put("operation", head.isPresent() ? "append" : "create");
        commit.put("write", write.toString());
        commit.put("created", created);
        commit.put("properties", properties);
        commit.put("parts", parts(head.map(Dataset::commit)));
        Map<String, Object> document = new TreeMap<>();
        document.put("commit", commit);
        document.put("signature", null);
        return CANONICAL.writeValueAsBytes(document);
    }

    private List<Map<String, Object>> parts(Optional<CommitRecord> before) {
        List<Part> parts = new ArrayList<>(before.map(CommitRecord::parts).orElse(List.of()));
        for (WrittenPart part : added) {
            parts.add(new Part(
                    part.name(),
                    Part.Kind.PARQUET,
                    job.commit(),
                    job.footerKey(),
                    job.dataset(),
                    part.length(),
                    "",
                    part.sha256(),
                    PART_MEDIA_TYPE));
        }
        parts.sort(Comparator.comparing(part -> part.name().getBytes(StandardCharsets.UTF_8), Arrays::compareUnsigned));
        return parts.stream().map(NewCommit::members).toList();
    }

    private static Map<String, Object> members(Part part) {
        Map<String, Object> members = new TreeMap<>();
        members.put("name", part.name());
        members.put("kind", part.kind().name().toLowerCase(Locale.ROOT));
        members.put("commit", part.commit().toString());
        members.put("key", part.key().toString());
        members.put("owner", part.owner().toString());
        members.put("length", part.length());
        members.put("prefix", part.prefix());
        members.put("sha256", part.sha256());
        members.put("media_type", part.mediaType());
        return members;
    }
}
