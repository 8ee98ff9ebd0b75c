package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Map;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;

/** A connection through TLS 1.3 on loopback: the job's own certificate is pinned, the job's token goes with the request. */
final class TlsConnection implements EndpointConnection {
    private static final String PROTOCOL = "TLSv1.3";

    private final SSLSocket socket;
    private final String token;

    private TlsConnection(SSLSocket socket, String token) {
        this.socket = socket;
        this.token = token;
    }

    static TlsConnection open(int port, byte[] certificate, String token, Duration timeout) throws RedoubtException {
        int millis = Math.toIntExact(timeout.toMillis());
        Socket plain = new Socket();
        try {
            plain.connect(new InetSocketAddress(InetAddress.getByAddress(new byte[] {127, 0, 0, 1}), port), millis);
            plain.setSoTimeout(millis);
            SSLSocket socket = (SSLSocket)
                    context(certificate).getSocketFactory().createSocket(plain, "127.0.0.1", port, true);
            socket.setEnabledProtocols(new String[] {PROTOCOL});
            socket.startHandshake();
            return new TlsConnection(socket, token);
        } catch (SSLException e) {
            closeQuietly(plain, e);
            throw new RedoubtException(ErrorCode.ENDPOINT_REFUSED, "the key endpoint is not the one of this job", e);
        } catch (IOException e) {
            closeQuietly(plain, e);
            throw new RedoubtException(ErrorCode.ENDPOINT_UNREACHABLE, "no key endpoint answers at port " + port, e);
        }
    }

    private static SSLContext context(byte[] certificate) throws RedoubtException {
        try {
            Certificate pinned =
                    CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(certificate));
            SSLContext context = SSLContext.getInstance(PROTOCOL);
            context.init(null, new TrustManager[] {new PinnedCertificate(pinned)}, null);
            return context;
        } catch (GeneralSecurityException e) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, "the certificate of the key endpoint is malformed", e);
        }
    }

    private static void closeQuietly(Socket socket, IOException reason) {
        try {
            socket.close();
        } catch (IOException e) {
            reason.addSuppressed(e);
        }
    }

    @Override
    public InputStream input() throws IOException {
        return socket.getInputStream();
    }

    @Override
    public OutputStream output() throws IOException {
        return socket.getOutputStream();
    }

    @Override
    public Map<String, String> credentials() {
        return Map.of("Authorization", "Bearer " + token);
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
