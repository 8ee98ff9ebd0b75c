package io.redoubt.cluster;

import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.X509TrustManager;

/**
 * Admits peers whose certificate one of the trust domain's CAs issued to a role of a Spark cluster: exactly one name, a SPIFFE
 * URI of this domain. Other roles of the domain are none of the cluster's.
 */
final class MemberTrust implements X509TrustManager {
    private static final int URI = 6;
    private static final Pattern NAME = Pattern.compile("spiffe://([^/]+)/([^/]+)/[0-9a-f]{32}");
    private static final Set<String> ROLES = Set.of("master", "worker", "executor", "driver");

    private final String domain;
    private final X509TrustManager chains;

    MemberTrust(String domain, X509TrustManager chains) {
        this.domain = domain;
        this.chains = chains;
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String kind) throws CertificateException {
        chains.checkClientTrusted(chain, kind);
        checkMember(chain[0]);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String kind) throws CertificateException {
        chains.checkServerTrusted(chain, kind);
        checkMember(chain[0]);
    }

    @Override
    public X509Certificate[] getAcceptedIssuers() {
        return chains.getAcceptedIssuers();
    }

    private void checkMember(X509Certificate certificate) throws CertificateException {
        Collection<List<?>> names = certificate.getSubjectAlternativeNames();
        if (names == null || names.size() != 1) {
            throw new CertificateException("[pki.peer] the peer's certificate does not say exactly one name");
        }
        List<?> name = names.iterator().next();
        Matcher found = NAME.matcher(String.valueOf(name.get(1)));
        if (!Integer.valueOf(URI).equals(name.get(0)) || !found.matches()) {
            throw new CertificateException("[pki.peer] the peer's name is not a role's");
        }
        if (!found.group(1).equals(domain) || !ROLES.contains(found.group(2))) {
            throw new CertificateException("[pki.peer] the peer is of another trust domain, or no role of a cluster");
        }
    }
}
