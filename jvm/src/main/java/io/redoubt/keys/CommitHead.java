package io.redoubt.keys;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * One commit of a dataset, as the register of heads knows it.
 *
 * @param number from 1
 * @param digest of its record, {@code sha256:<hex>}
 */
public record CommitHead(long number, String digest) {
    private static final Pattern DIGEST = Pattern.compile("sha256:[0-9a-f]{64}");
    private static final long MAX_NUMBER = 99_999_999;

    /** Reads the member {@code head} of an answer, its only one; null means that nothing is registered. */
    static Optional<CommitHead> registered(JsonNode answer, String what) throws RedoubtException {
        JsonNode head = answer.get("head");
        if (head == null || answer.size() != 1) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " has unknown or missing members");
        }
        return head.isNull() ? Optional.empty() : Optional.of(read(head, what));
    }

    /** Reads the member {@code heads} of an answer, its only one. */
    static Set<CommitHead> announced(JsonNode answer, String what) throws RedoubtException {
        JsonNode listed = answer.get("heads");
        if (listed == null || answer.size() != 1 || !listed.isArray()) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " has unknown or missing members");
        }
        Set<CommitHead> heads = new HashSet<>();
        for (JsonNode head : listed) {
            heads.add(read(head, what));
        }
        return heads;
    }

    private static CommitHead read(JsonNode head, String what) throws RedoubtException {
        JsonNode number = head.path("number");
        JsonNode digest = head.path("digest");
        if (head.size() != 2
                || !number.isInt()
                || number.intValue() < 1
                || number.intValue() > MAX_NUMBER
                || !digest.isTextual()
                || !DIGEST.matcher(digest.textValue()).matches()) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " has a malformed head");
        }
        return new CommitHead(number.intValue(), digest.textValue());
    }

    ObjectNode json() {
        return Json.newObject().put("number", number).put("digest", digest);
    }
}
