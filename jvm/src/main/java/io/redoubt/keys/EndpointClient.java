package io.redoubt.keys;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.IOException;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;

/**
 * Gets data keys from the key endpoint of the job ({@code docs/endpoint.md}), and asks it for registered heads. One client
 * serves all threads of the JVM; it keeps unwrapped keys in memory for a while, so that a task asks once for a dataset and not
 * once for a file. Heads are never kept.
 */
public final class EndpointClient {
    /** A fresh data key and the record that wraps it. */
    public record NewDataKey(DataKey key, WrappedKey wrapped) {}

    private static final Duration TIMEOUT = Duration.ofSeconds(30);
    private static final Duration KEY_LIFETIME = Duration.ofMinutes(10);
    private static final int MAX_CACHED_KEYS = 16384;
    private static final int MAX_BATCH = 1024;
    private static final int OK = 200;
    private static final String REGISTER = "/v1/register/";
    private static final String ANNOUNCED = "/v1/announced/";
    private static final Pattern PROBLEM = Pattern.compile("urn:redoubt:error:([a-z0-9_.]{1,64})");
    private static final Map<EndpointFolder, EndpointClient> CLIENTS = new ConcurrentHashMap<>();

    private final EndpointFolder folder;
    private final DataKeyCache cache = new DataKeyCache(MAX_CACHED_KEYS, KEY_LIFETIME);

    private EndpointClient(EndpointFolder folder) {
        this.folder = folder;
    }

    /**
     * Returns the client of the endpoint that {@code redoubt.endpoint}, or else {@code REDOUBT_ENDPOINT}, names.
     *
     * @throws RedoubtException {@code endpoint.unreachable}: neither is set
     */
    public static EndpointClient of(Configuration configuration) throws RedoubtException {
        return CLIENTS.computeIfAbsent(EndpointFolder.of(configuration), EndpointClient::new);
    }

    /** Forgets every unwrapped key of every client in this JVM. */
    public static void clear() {
        CLIENTS.values().forEach(client -> client.cache.clear());
        CLIENTS.clear();
    }

    /** Unwraps one key; see {@link #unwrap(List)}. */
    public DataKey unwrap(WrappedKey wrapped) throws RedoubtException {
        return unwrap(List.of(wrapped)).get(0);
    }

    /**
     * Unwraps keys of one dataset and purpose, in order.
     *
     * @throws RedoubtException {@code endpoint.*}, or the code with which the endpoint refused
     */
    public List<DataKey> unwrap(List<WrappedKey> wrapped) throws RedoubtException {
        DataKey[] keys = new DataKey[wrapped.size()];
        List<Integer> missing = new ArrayList<>();
        for (int i = 0; i < keys.length; i++) {
            Optional<DataKey> known = cache.get(wrapped.get(i).encode());
            if (known.isPresent()) {
                keys[i] = known.get();
            } else {
                missing.add(i);
            }
        }
        for (int from = 0; from < missing.size(); from += MAX_BATCH) {
            List<Integer> batch = missing.subList(from, Math.min(from + MAX_BATCH, missing.size()));
            List<DataKey> fetched = fetch(batch.stream().map(wrapped::get).toList());
            for (int i = 0; i < batch.size(); i++) {
                keys[batch.get(i)] = fetched.get(i);
                cache.put(wrapped.get(batch.get(i)).encode(), fetched.get(i));
            }
        }
        return Arrays.asList(keys);
    }

    /**
     * Makes a fresh data key, to seal data of {@code dataset}.
     *
     * @param key name of the primary key as a person types it; null for the workspace's default
     * @throws RedoubtException {@code endpoint.*}, or the code with which the endpoint refused
     */
    public NewDataKey newDataKey(String key, UUID dataset, UUID dataKey) throws RedoubtException {
        ObjectNode request = Json.newObject()
                .put("key", key)
                .put("dataset", dataset.toString())
                .put("data_key", dataKey.toString())
                .put("purpose", KeyPurpose.DATA.text());
        String what = "the endpoint's answer to data-keys";
        JsonNode response = call("POST", "/v1/data-keys", Json.write(request), what);
        WrappedKey wrapped = WrappedKey.decode(Json.bytes(response, "record", what)).expect(dataset, dataKey);
        return new NewDataKey(secret(dataKey, response, what), wrapped);
    }

    /**
     * Returns the newest commit of a dataset that a writer registered; nothing if none did, or nobody keeps a register.
     *
     * @throws RedoubtException {@code endpoint.*}, or the code with which the endpoint refused
     */
    public Optional<CommitHead> registeredHead(UUID dataset) throws RedoubtException {
        String what = "the endpoint's answer to register";
        return CommitHead.registered(call("GET", REGISTER + dataset, new byte[0], what), what);
    }

    /**
     * Registers {@code head} in the place of {@code previous}.
     *
     * @throws RedoubtException {@code broker.register_conflict}: that is not what is registered; {@code endpoint.*}, or the code
     *     with which the endpoint refused
     */
    public void registerHead(UUID dataset, Optional<CommitHead> previous, CommitHead head) throws RedoubtException {
        ObjectNode request = Json.newObject();
        request.set("previous", previous.map(CommitHead::json).orElse(null));
        request.set("head", head.json());
        call("POST", REGISTER + dataset, Json.write(request), "the endpoint's answer to register");
    }

    /**
     * Returns the commits after the registered one that writers announced, whether they are there or not.
     *
     * @throws RedoubtException {@code endpoint.*}, or the code with which the endpoint refused
     */
    public Set<CommitHead> announcedHeads(UUID dataset) throws RedoubtException {
        String what = "the endpoint's answer to announced";
        return CommitHead.announced(call("GET", ANNOUNCED + dataset, new byte[0], what), what);
    }

    /**
     * Announces a commit whose record is not there yet; does nothing where nobody keeps a register.
     *
     * @throws RedoubtException {@code broker.register_conflict}: a commit of that number is registered, or this job may not
     *     commit; {@code endpoint.*}, or the code with which the endpoint refused
     */
    public void announceHead(UUID dataset, CommitHead head) throws RedoubtException {
        ObjectNode request = Json.newObject();
        request.set("head", head.json());
        call("POST", ANNOUNCED + dataset, Json.write(request), "the endpoint's answer to announced");
    }

    private List<DataKey> fetch(List<WrappedKey> wrapped) throws RedoubtException {
        WrappedKey first = wrapped.get(0);
        ObjectNode request = Json.newObject()
                .put("dataset", first.datasetId().toString())
                .put("purpose", first.purpose().text());
        ArrayNode records = request.putArray("records");
        for (WrappedKey key : wrapped) {
            records.add(Base64.getEncoder().encodeToString(key.encode()));
        }
        String what = "the endpoint's answer to unwrap";
        JsonNode answers = call("POST", "/v1/unwrap", Json.write(request), what).path("keys");
        if (!answers.isArray() || answers.size() != wrapped.size()) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " has another number of keys than was asked for");
        }
        List<DataKey> keys = new ArrayList<>(wrapped.size());
        for (int i = 0; i < wrapped.size(); i++) {
            UUID id = wrapped.get(i).dataKeyId();
            if (!Json.text(answers.get(i), "id", what).equals(id.toString())) {
                throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " is not in the order asked");
            }
            keys.add(secret(id, answers.get(i), what));
        }
        return keys;
    }

    private static DataKey secret(UUID id, JsonNode object, String what) throws RedoubtException {
        byte[] secret = Json.bytes(object, "secret", what);
        try {
            return new DataKey(id, secret);
        } finally {
            Arrays.fill(secret, (byte) 0);
        }
    }

    private JsonNode call(String method, String path, byte[] request, String what) throws RedoubtException {
        HttpCall.Response response;
        try (EndpointConnection connection = folder.connect(TIMEOUT)) {
            response = HttpCall.send(connection, method, path, request);
        } catch (RedoubtException e) {
            throw e;
        } catch (SocketTimeoutException e) {
            throw new RedoubtException(ErrorCode.ENDPOINT_UNREACHABLE, "the key endpoint does not answer in time", e);
        } catch (IOException e) {
            throw new RedoubtException(ErrorCode.ENDPOINT_UNREACHABLE, "the connection to the key endpoint broke", e);
        }
        JsonNode body = Json.object(response.body(), what);
        if (response.status() == OK) {
            return body;
        }
        Matcher problem = PROBLEM.matcher(body.path("type").asText());
        if (!problem.matches()) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, what + " has status " + response.status());
        }
        throw new RedoubtException(problem.group(1), body.path("detail").asText("the key endpoint refused"));
    }
}
