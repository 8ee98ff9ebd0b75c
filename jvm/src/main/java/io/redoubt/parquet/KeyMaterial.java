package io.redoubt.parquet;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.parquet.MasterKeyId.Label;
import java.io.IOException;

/**
 * Key material in the form of Parquet's key tools ({@code PKMT1}), stored in the file and wrapped once. The KMS instance that a
 * footer's material must name is written as the tools' default and ignored when read: a file does not say where keys live.
 */
record KeyMaterial(MasterKeyId id, String wrappedDek) {
    private static final JsonMapper MAPPER = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
            .build();
    private static final String TYPE = "PKMT1";
    private static final String DEFAULT = "DEFAULT";
    private static final int MAX_BYTES = 2048;

    /**
     * Parses a file's key metadata.
     *
     * @throws RedoubtException {@code key.invalid}: it is not such key material
     */
    static KeyMaterial parse(byte[] raw) throws RedoubtException {
        JsonNode json = json(raw);
        boolean footer = json.path("isFooterKey").asBoolean();
        boolean known = json.path("keyMaterialType").asText().equals(TYPE)
                && json.path("internalStorage").asBoolean()
                && json.path("doubleWrapping").isBoolean()
                && !json.path("doubleWrapping").booleanValue()
                && json.path("isFooterKey").isBoolean();
        if (!known) {
            throw invalid("are of another kind than Redoubt writes");
        }
        MasterKeyId id = MasterKeyId.parse(json.path("masterKeyID").asText());
        if ((id.label() == Label.FOOTER) != footer) {
            throw invalid("contradict themselves");
        }
        return new KeyMaterial(id, json.path("wrappedDEK").asText());
    }

    /** Returns the key metadata to store in a file. */
    byte[] encode() {
        ObjectNode json = MAPPER.createObjectNode();
        json.put("keyMaterialType", TYPE).put("internalStorage", true).put("isFooterKey", id.label() == Label.FOOTER);
        if (id.label() == Label.FOOTER) {
            json.put("kmsInstanceID", DEFAULT).put("kmsInstanceURL", DEFAULT);
        }
        json.put("masterKeyID", id.toString()).put("wrappedDEK", wrappedDek).put("doubleWrapping", false);
        try {
            return MAPPER.writeValueAsBytes(json);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a tree of JSON values does not encode", e);
        }
    }

    private static JsonNode json(byte[] raw) throws RedoubtException {
        if (raw.length > MAX_BYTES) {
            throw invalid("are longer than " + MAX_BYTES + " bytes");
        }
        try {
            return MAPPER.readTree(raw);
        } catch (IOException e) {
            throw invalid("are not JSON");
        }
    }

    private static RedoubtException invalid(String why) {
        return new RedoubtException(ErrorCode.KEY_INVALID, "a Parquet file's key metadata " + why);
    }
}
