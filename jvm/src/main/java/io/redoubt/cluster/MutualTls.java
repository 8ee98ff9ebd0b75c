package io.redoubt.cluster;

import java.security.Provider;

/**
 * A security provider with one TLS context, {@value #PROTOCOL}: TLS 1.3 with certificates of the trust domain's roles at both
 * ends.
 *
 * <p>Spark's RPC TLS never asks a client for a certificate ({@code SSLFactory} says {@code setNeedClientAuth(false)}). Its
 * setting {@code spark.ssl.rpc.protocol} names the context that it makes engines with; so it names this one, and where this
 * provider is missing there is no such context and Spark does not start.
 *
 * <p>The agent's {@code java.security.properties} file registers it, and says where the role's identity lies and of which
 * trust domain its peers are.
 */
public final class MutualTls extends Provider {
    /** What {@code spark.ssl.rpc.protocol} is set to. */
    public static final String PROTOCOL = "RedoubtMutualTLS";

    private static final long serialVersionUID = 1L;

    /** Called by the JDK. */
    public MutualTls() {
        super("Redoubt", "1", "TLS between the roles of a trust domain");
        put("SSLContext." + PROTOCOL, MutualTlsContext.class.getName());
    }
}
