package io.redoubt.keys;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.IOException;
import java.util.Base64;

/** The endpoint's JSON, read strictly: one value, no member twice, every member of the type that the protocol states. */
final class Json {
    private static final ObjectMapper MAPPER = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
            .build();

    private Json() {}

    static ObjectNode newObject() {
        return MAPPER.createObjectNode();
    }

    static byte[] write(JsonNode value) {
        try {
            return MAPPER.writeValueAsBytes(value);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a tree of JSON values does not encode", e);
        }
    }

    /** Parses an object; the parser's own text is dropped, as it may quote key material. */
    static JsonNode object(byte[] text, String what) throws RedoubtException {
        JsonNode value;
        try {
            value = MAPPER.readTree(text);
        } catch (IOException e) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " is not JSON");
        }
        if (!value.isObject()) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " is not a JSON object");
        }
        return value;
    }

    static String text(JsonNode object, String member, String what) throws RedoubtException {
        JsonNode value = object.path(member);
        if (!value.isTextual()) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " lacks the text \"" + member + '"');
        }
        return value.textValue();
    }

    static byte[] bytes(JsonNode object, String member, String what) throws RedoubtException {
        try {
            return Base64.getDecoder().decode(text(object, member, what));
        } catch (IllegalArgumentException e) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " has a malformed \"" + member + '"');
        }
    }
}
