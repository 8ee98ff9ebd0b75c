package io.redoubt.cluster;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyManagementException;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/**
 * Key, certificate and trusted CAs of the role that this process is, as its agent writes them: {@code identity.pem} and
 * {@code bundle.pem} in a private folder in memory. Both are read again when the agent has renewed them, so connections that
 * are made later show the new certificate.
 */
final class Identity {
    private static final String FOLDER = "redoubt.cluster.identity";
    private static final String DOMAIN = "redoubt.cluster.domain";
    private static final String BEGIN = "-----BEGIN PRIVATE KEY-----";
    private static final String END = "-----END PRIVATE KEY-----";

    private final Path folder;
    private final String domain;
    private SSLContext context;
    private FileTime read;

    private Identity(Path folder, String domain) {
        this.folder = folder;
        this.domain = domain;
    }

    /** The identity that the agent of this process named. */
    static Identity ofThisProcess() {
        String folder = Security.getProperty(FOLDER);
        String domain = Security.getProperty(DOMAIN);
        if (folder == null || domain == null) {
            throw new IllegalStateException("[pki.failed] this process has no identity in a trust domain");
        }
        return new Identity(Path.of(folder), domain);
    }

    /** A TLS context that shows this identity and admits peers of the trust domain alone. */
    synchronized SSLContext context() throws KeyManagementException {
        Path own = folder.resolve("identity.pem");
        try {
            FileTime now = Files.getLastModifiedTime(own);
            if (context == null || !now.equals(read)) {
                context = load(Files.readString(own, StandardCharsets.US_ASCII), Files.readAllBytes(folder.resolve("bundle.pem")));
                read = now;
            }
            return context;
        } catch (IOException | GeneralSecurityException e) {
            throw new KeyManagementException("[pki.failed] the identity of this role cannot be read", e);
        }
    }

    private SSLContext load(String own, byte[] bundle) throws IOException, GeneralSecurityException {
        int begin = own.indexOf(BEGIN);
        int end = own.indexOf(END);
        if (begin < 0 || end < begin) {
            throw new KeyManagementException("no private key");
        }
        byte[] encoded = Base64.getMimeDecoder().decode(own.substring(begin + BEGIN.length(), end));
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(encoded));
        byte[] rest = own.substring(end + END.length()).strip().getBytes(StandardCharsets.US_ASCII);
        char[] nobody = new char[0]; // these stores never leave memory
        KeyStore keys = empty();
        keys.setKeyEntry("role", key, nobody, certificates(rest).toArray(new Certificate[0]));
        KeyManagerFactory shown = KeyManagerFactory.getInstance("NewSunX509");
        shown.init(keys, nobody);
        KeyStore trusted = empty();
        int number = 0;
        for (Certificate certificate : certificates(bundle)) {
            trusted.setCertificateEntry("ca-" + number++, certificate);
        }
        TrustManagerFactory chains = TrustManagerFactory.getInstance("PKIX");
        chains.init(trusted);
        SSLContext made = SSLContext.getInstance("TLSv1.3", "SunJSSE");
        made.init(shown.getKeyManagers(), new TrustManager[] {new MemberTrust(domain, (X509TrustManager) chains.getTrustManagers()[0])}, null);
        return made;
    }

    private static KeyStore empty() throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        return store;
    }

    private static Collection<? extends Certificate> certificates(byte[] pem) throws GeneralSecurityException {
        return CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem));
    }
}
