package io.redoubt.cluster;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.BiFunction;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSession;

/**
 * An engine that speaks TLS 1.3 with one cipher suite, and as a server always demands the client's certificate, whatever its
 * user sets.
 */
final class MutualEngine extends SSLEngine {
    private static final String PROTOCOL = "TLSv1.3";
    private static final String SUITE = "TLS_AES_256_GCM_SHA384";

    private final SSLEngine engine;

    MutualEngine(SSLEngine engine) {
        this.engine = engine;
        enforce();
    }

    private void enforce() {
        engine.setEnabledProtocols(new String[] {PROTOCOL});
        engine.setEnabledCipherSuites(new String[] {SUITE});
        if (!engine.getUseClientMode()) {
            engine.setNeedClientAuth(true);
        }
    }

    // --- what users may not decide ---------------------------------------------------------------------------------------------
    @Override
    public void setUseClientMode(boolean mode) {
        engine.setUseClientMode(mode);
        enforce();
    }

    @Override
    public void setNeedClientAuth(boolean need) {
        enforce();
    }

    @Override
    public void setWantClientAuth(boolean want) {
        enforce();
    }

    @Override
    public void setEnabledProtocols(String[] protocols) {
        enforce();
    }

    @Override
    public void setEnabledCipherSuites(String[] suites) {
        enforce();
    }

    @Override
    public void setSSLParameters(SSLParameters parameters) {
        engine.setSSLParameters(parameters);
        enforce();
    }

    @Override
    public String[] getSupportedProtocols() {
        return new String[] {PROTOCOL};
    }

    @Override
    public String[] getEnabledProtocols() {
        return new String[] {PROTOCOL};
    }

    @Override
    public String[] getSupportedCipherSuites() {
        return new String[] {SUITE};
    }

    @Override
    public String[] getEnabledCipherSuites() {
        return new String[] {SUITE};
    }

    // --- the rest is the JDK's -------------------------------------------------------------------------------------------------
    @Override
    public SSLEngineResult wrap(ByteBuffer[] sources, int offset, int length, ByteBuffer target) throws SSLException {
        return engine.wrap(sources, offset, length, target);
    }

    @Override
    public SSLEngineResult unwrap(ByteBuffer source, ByteBuffer[] targets, int offset, int length) throws SSLException {
        return engine.unwrap(source, targets, offset, length);
    }

    @Override
    public Runnable getDelegatedTask() {
        return engine.getDelegatedTask();
    }

    @Override
    public void closeInbound() throws SSLException {
        engine.closeInbound();
    }

    @Override
    public boolean isInboundDone() {
        return engine.isInboundDone();
    }

    @Override
    public void closeOutbound() {
        engine.closeOutbound();
    }

    @Override
    public boolean isOutboundDone() {
        return engine.isOutboundDone();
    }

    @Override
    public SSLSession getSession() {
        return engine.getSession();
    }

    @Override
    public SSLSession getHandshakeSession() {
        return engine.getHandshakeSession();
    }

    @Override
    public void beginHandshake() throws SSLException {
        engine.beginHandshake();
    }

    @Override
    public HandshakeStatus getHandshakeStatus() {
        return engine.getHandshakeStatus();
    }

    @Override
    public boolean getUseClientMode() {
        return engine.getUseClientMode();
    }

    @Override
    public boolean getNeedClientAuth() {
        return engine.getNeedClientAuth();
    }

    @Override
    public boolean getWantClientAuth() {
        return engine.getWantClientAuth();
    }

    @Override
    public void setEnableSessionCreation(boolean enable) {
        engine.setEnableSessionCreation(enable);
    }

    @Override
    public boolean getEnableSessionCreation() {
        return engine.getEnableSessionCreation();
    }

    @Override
    public SSLParameters getSSLParameters() {
        return engine.getSSLParameters();
    }

    @Override
    public String getApplicationProtocol() {
        return engine.getApplicationProtocol();
    }

    @Override
    public String getHandshakeApplicationProtocol() {
        return engine.getHandshakeApplicationProtocol();
    }

    @Override
    public void setHandshakeApplicationProtocolSelector(BiFunction<SSLEngine, List<String>, String> selector) {
        engine.setHandshakeApplicationProtocolSelector(selector);
    }

    @Override
    public BiFunction<SSLEngine, List<String>, String> getHandshakeApplicationProtocolSelector() {
        return engine.getHandshakeApplicationProtocolSelector();
    }
}
