package io.redoubt.keys;

import com.fasterxml.jackson.databind.JsonNode;
import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import org.apache.hadoop.conf.Configuration;

/** The folder in which a job's key endpoint says where it is ({@code docs/endpoint.md}, "Where it is"). */
record EndpointFolder(Path path) {
    static final String CONFIGURATION_KEY = "redoubt.endpoint";
    static final String ENVIRONMENT_VARIABLE = "REDOUBT_ENDPOINT";

    private static final String WHAT = "endpoint.json";
    private static final int MAX_PORT = 65535;

    /** The folder that the configuration names, or else the environment. */
    static EndpointFolder of(Configuration configuration) throws RedoubtException {
        String configured = configuration.getTrimmed(CONFIGURATION_KEY, "");
        String text = configured.isEmpty() ? System.getenv(ENVIRONMENT_VARIABLE) : configured;
        if (text == null || text.isEmpty()) {
            throw new RedoubtException(
                    ErrorCode.ENDPOINT_UNREACHABLE,
                    "no key endpoint is known: neither " + CONFIGURATION_KEY + " nor " + ENVIRONMENT_VARIABLE + " is set");
        }
        return new EndpointFolder(Path.of(text).toAbsolutePath().normalize());
    }

    /** Reads the folder, checks who may, and connects. */
    EndpointConnection connect(Duration timeout) throws RedoubtException {
        PrivateFiles.checkFolder(path);
        JsonNode description = Json.object(PrivateFiles.read(path.resolve(WHAT)), WHAT);
        JsonNode version = description.path("version");
        if (!version.isInt() || version.intValue() != 1) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, WHAT + " has an unknown version");
        }
        String transport = Json.text(description, "transport", WHAT);
        return switch (transport) {
            case "unix" -> UnixConnection.open(member(description, "socket"), timeout);
            case "tls" -> TlsConnection.open(
                    port(description),
                    PrivateFiles.read(member(description, "certificate")),
                    new String(PrivateFiles.read(member(description, "token")), StandardCharsets.US_ASCII).strip(),
                    timeout);
            default -> throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, WHAT + " names an unknown transport");
        };
    }

    private Path member(JsonNode description, String name) throws RedoubtException {
        Path file = Path.of(Json.text(description, name, WHAT));
        if (file.isAbsolute() || file.getNameCount() != 1 || !file.equals(file.getFileName()) || file.endsWith("..")) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, WHAT + " names a \"" + name + "\" outside its folder");
        }
        return path.resolve(file);
    }

    private static int port(JsonNode description) throws RedoubtException {
        JsonNode port = description.path("port");
        if (!port.isInt() || port.intValue() < 1 || port.intValue() > MAX_PORT) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, WHAT + " has no port");
        }
        return port.intValue();
    }
}
