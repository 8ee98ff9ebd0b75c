package io.redoubt.sealed;

import io.redoubt.RedoubtException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.UUID;

/** The content of a commit record ({@code docs/format.md}, "Commit record"): what the dataset holds after it. */
public final class CommitRecord {
    private final UUID dataset;
    private final UUID id;
    private final long number;
    private final Optional<String> previous;
    private final String operation;
    private final UUID write;
    private final String created;
    private final SortedMap<String, String> properties;
    private final Map<String, Part> parts = new LinkedHashMap<>();

    /** A record as it is read or is to be written; {@code parts} are in the order of their names' UTF-8 bytes. */
    public CommitRecord(
            UUID dataset,
            UUID id,
            long number,
            Optional<String> previous,
            String operation,
            UUID write,
            String created,
            SortedMap<String, String> properties,
            List<Part> parts) {
        this.dataset = dataset;
        this.id = id;
        this.number = number;
        this.previous = previous;
        this.operation = operation;
        this.write = write;
        this.created = created;
        this.properties = properties;
        parts.forEach(part -> this.parts.put(part.name(), part));
    }

    /**
     * Parses the plaintext of a record file.
     *
     * @throws RedoubtException {@code sealed.commit}: it is not what a writer writes
     */
    public static CommitRecord decode(byte[] plaintext) throws RedoubtException {
        return CommitCodec.decode(plaintext);
    }

    /** Returns the plaintext of the record file: canonical JSON. */
    public byte[] encode() {
        return CommitCodec.encode(this);
    }

    /** The dataset that this commit belongs to. */
    public UUID dataset() {
        return dataset;
    }

    /** The id of this commit. */
    public UUID id() {
        return id;
    }

    /** The number of this commit, from 1. */
    public long number() {
        return number;
    }

    /** Digest of the record before; empty for the first. */
    public Optional<String> previous() {
        return previous;
    }

    /** {@code create}, {@code append}, {@code overwrite} or {@code adopt}. */
    public String operation() {
        return operation;
    }

    /** The id that the writer chose for its write. */
    public UUID write() {
        return write;
    }

    /** When the commit was made, as the writer's clock said. */
    public String created() {
        return created;
    }

    /** What readers need beside the bytes, by name. */
    public SortedMap<String, String> properties() {
        return properties;
    }

    /** All parts of the dataset after this commit, in the order of their names. */
    public List<Part> parts() {
        return List.copyOf(parts.values());
    }

    /** The part of this name, if it is listed. */
    public Optional<Part> part(String name) {
        return Optional.ofNullable(parts.get(name));
    }
}
