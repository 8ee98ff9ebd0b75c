package io.redoubt.sealed;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.crypto.Header;
import io.redoubt.crypto.PartName;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import java.util.regex.Pattern;

/**
 * Parses the plaintext of commit records. What was read is written again in canonical JSON and compared with the input, so
 * an unknown or doubled member, another order or another spelling of a value is an error without a rule of its own.
 */
final class CommitCodec {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Set<String> OPERATIONS = Set.of("create", "append", "overwrite", "adopt");
    private static final Pattern DIGEST = Pattern.compile("sha256:[0-9a-f]{64}");
    private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");
    private static final Pattern PREFIX = Pattern.compile("[0-9a-f]{112}");
    private static final Pattern CREATED = Pattern.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z");
    /** What eight digits hold. */
    private static final long MAX_NUMBER = 99_999_999;

    private static final int MAX_PARTS = 200_000;
    private static final UUID NIL = new UUID(0, 0);
    /** RFC 8785 numbers are exact up to there. */
    private static final long MAX_EXACT_NUMBER = (1L << 53) - 1;

    private static final Set<String> RESERVED = Set.of("_commits", "_keys");

    private CommitCodec() {}

    /**
     * Parses a record.
     *
     * @throws RedoubtException {@code sealed.commit}: it is not what a writer writes
     */
    static CommitRecord decode(byte[] plaintext) throws RedoubtException {
        CommitRecord record = record(parse(plaintext).path("commit"));
        if (!Arrays.equals(encode(record), plaintext)) {
            throw invalid("is not canonical, or has unknown members");
        }
        return record;
    }

    private static JsonNode parse(byte[] plaintext) throws RedoubtException {
        try {
            return MAPPER.readTree(plaintext);
        } catch (IOException e) {
            throw invalid("is not JSON");
        }
    }

    private static CommitRecord record(JsonNode commit) throws RedoubtException {
        long number = number(commit, "number");
        Optional<String> previous =
                commit.path("previous").isNull() ? Optional.empty() : Optional.of(text(commit, "previous"));
        String operation = text(commit, "operation");
        if (number < 1 || number > MAX_NUMBER || previous.isPresent() != (number > 1)) {
            throw invalid("has a number that contradicts its predecessor");
        }
        if (previous.isPresent() && !DIGEST.matcher(previous.get()).matches()) {
            throw invalid("has a malformed digest of its predecessor");
        }
        String created = text(commit, "created");
        if (!CREATED.matcher(created).matches()) {
            throw invalid("has a malformed time");
        }
        if (!OPERATIONS.contains(operation)) {
            throw invalid("has an unknown operation");
        }
        UUID dataset = uuid(commit, "dataset");
        return new CommitRecord(
                dataset,
                uuid(commit, "id"),
                number,
                previous,
                operation,
                uuid(commit, "write"),
                created,
                properties(commit.path("properties")),
                parts(commit.path("parts"), dataset));
    }

    private static SortedMap<String, String> properties(JsonNode object) throws RedoubtException {
        SortedMap<String, String> properties = new TreeMap<>();
        for (Map.Entry<String, JsonNode> member : object.properties()) {
            properties.put(member.getKey(), text(object, member.getKey()));
        }
        return Collections.unmodifiableSortedMap(properties);
    }

    private static List<Part> parts(JsonNode array, UUID dataset) throws RedoubtException {
        if (!(array instanceof ArrayNode) || array.size() > MAX_PARTS) {
            throw invalid("lists no parts, or more than " + MAX_PARTS);
        }
        List<Part> parts = new ArrayList<>(array.size());
        byte[] before = new byte[0];
        for (JsonNode item : array) {
            Part part = part(item, dataset);
            byte[] name = part.name().getBytes(StandardCharsets.UTF_8);
            if (Arrays.compareUnsigned(before, name) >= 0) {
                throw invalid("lists parts twice or out of order");
            }
            before = name;
            parts.add(part);
        }
        return parts;
    }

    private static Part part(JsonNode item, UUID dataset) throws RedoubtException {
        Part part = new Part(
                text(item, "name"),
                kind(text(item, "kind")),
                uuid(item, "commit"),
                uuid(item, "key"),
                uuid(item, "owner"),
                number(item, "length"),
                text(item, "prefix"),
                text(item, "sha256"),
                text(item, "media_type"));
        boolean prefixed = part.kind() != Part.Kind.PARQUET;
        boolean standalone = part.kind() == Part.Kind.STANDALONE;
        if (part.length() < 1
                || !standalone && !part.owner().equals(dataset)
                || !(prefixed ? PREFIX.matcher(part.prefix()).matches() : part.prefix().isEmpty())
                || part.length() > MAX_EXACT_NUMBER
                || !SHA256.matcher(part.sha256()).matches()
                || part.kind() == Part.Kind.PART && !part.name().startsWith("data/" + part.commit() + "/")
                || standalone != part.commit().equals(NIL)
                || RESERVED.contains(part.name().split("/", 2)[0])) {
            throw invalid("lists a malformed part");
        }
        try {
            PartName.check(part.name());
            Header.checkMediaType(part.mediaType());
        } catch (RedoubtException e) {
            throw new RedoubtException(ErrorCode.COMMIT_INVALID, "the commit record lists a malformed part", e);
        }
        return part;
    }

    private static Part.Kind kind(String text) throws RedoubtException {
        for (Part.Kind kind : Part.Kind.values()) {
            if (kind.text().equals(text)) {
                return kind;
            }
        }
        throw invalid("lists a part of an unknown kind");
    }

    private static String text(JsonNode object, String member) throws RedoubtException {
        JsonNode value = object.path(member);
        if (!value.isTextual()) {
            throw invalid("lacks the text \"" + member + '"');
        }
        return value.textValue();
    }

    private static UUID uuid(JsonNode object, String member) throws RedoubtException {
        try {
            return UUID.fromString(text(object, member));
        } catch (IllegalArgumentException e) {
            throw invalid("has a malformed UUID \"" + member + '"');
        }
    }

    private static long number(JsonNode object, String member) throws RedoubtException {
        JsonNode value = object.path(member);
        if (!value.isIntegralNumber() || !value.canConvertToLong()) {
            throw invalid("lacks the number \"" + member + '"');
        }
        return value.longValue();
    }

    /** Returns the plaintext of a record: canonical JSON (RFC 8785), with an empty signature slot. */
    static byte[] encode(CommitRecord record) {
        CanonicalJson json = new CanonicalJson();
        json.open('{').name("commit").open('{');
        json.name("created").text(record.created());
        json.name("dataset").text(record.dataset().toString());
        json.name("format").number(1);
        json.name("id").text(record.id().toString());
        json.name("number").number(record.number());
        json.name("operation").text(record.operation());
        json.name("parts").open('[');
        for (Part part : record.parts()) {
            json.open('{');
            json.name("commit").text(part.commit().toString());
            json.name("key").text(part.key().toString());
            json.name("kind").text(part.kind().text());
            json.name("length").number(part.length());
            json.name("media_type").text(part.mediaType());
            json.name("name").text(part.name());
            json.name("owner").text(part.owner().toString());
            json.name("prefix").text(part.prefix());
            json.name("sha256").text(part.sha256());
            json.close('}');
        }
        json.close(']');
        json.name("previous").text(record.previous().orElse(null));
        json.name("properties").open('{');
        record.properties().forEach((name, value) -> json.name(name).text(value));
        json.close('}');
        json.name("write").text(record.write().toString());
        return json.close('}').name("signature").text(null).close('}').bytes();
    }

    private static RedoubtException invalid(String why) {
        return new RedoubtException(ErrorCode.COMMIT_INVALID, "the commit record " + why);
    }
}
