package io.redoubt.cluster;

import java.security.KeyManagementException;
import java.security.SecureRandom;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContextSpi;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLServerSocketFactory;
import javax.net.ssl.SSLSessionContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;

/**
 * Makes engines of the role's identity. What Spark gives to {@code init} is not used: without a trust store it would be a
 * manager that trusts everybody.
 */
public final class MutualTlsContext extends SSLContextSpi {
    private final Identity identity = Identity.ofThisProcess();

    /** Called by the JDK. */
    public MutualTlsContext() {}

    @Override
    protected void engineInit(KeyManager[] keys, TrustManager[] trust, SecureRandom random) throws KeyManagementException {
        identity.context(); // a role without an identity fails when it starts, not at its first connection
    }

    @Override
    protected SSLEngine engineCreateSSLEngine() {
        return new MutualEngine(newEngine());
    }

    @Override
    protected SSLEngine engineCreateSSLEngine(String host, int port) {
        return engineCreateSSLEngine();
    }

    private SSLEngine newEngine() {
        try {
            return identity.context().createSSLEngine();
        } catch (KeyManagementException e) {
            throw new IllegalStateException(e.getMessage(), e);
        }
    }

    @Override
    protected SSLSocketFactory engineGetSocketFactory() {
        throw new UnsupportedOperationException("engines alone");
    }

    @Override
    protected SSLServerSocketFactory engineGetServerSocketFactory() {
        throw new UnsupportedOperationException("engines alone");
    }

    @Override
    protected SSLSessionContext engineGetServerSessionContext() {
        throw new UnsupportedOperationException("engines alone");
    }

    @Override
    protected SSLSessionContext engineGetClientSessionContext() {
        throw new UnsupportedOperationException("engines alone");
    }
}
