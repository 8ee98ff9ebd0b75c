import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Collections;
import java.util.Scanner;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** Reads lines of work from stdin and answers each with one line: what is in a store, or how a handshake went. */
public final class Stores {
  public static void main(String[] arguments) throws Exception {
    ExecutorService threads = Executors.newCachedThreadPool();
    Scanner input = new Scanner(System.in);
    while (input.hasNextLine()) {
      String[] words = input.nextLine().split(" ");
      String answer;
      try {
        answer = words[0].equals("list") ? list(words) : handshake(words, threads);
      } catch (Exception error) {
        answer = "refused " + error.getClass().getSimpleName();
      }
      System.out.println(answer);
    }
    threads.shutdownNow();
  }

  /** list STORE TYPE PASSWORD-FILE|- */
  private static String list(String[] words) throws Exception {
    KeyStore store = load(words[1], words[2], words[3]);
    StringBuilder found = new StringBuilder();
    for (String alias : Collections.list(store.aliases())) {
      if (store.isKeyEntry(alias)) {
        String key = store.getKey(alias, password(words[3])).getAlgorithm();
        found.append(alias).append("=").append(key).append("+").append(store.getCertificateChain(alias).length);
      } else {
        found.append(alias).append("=CA");
      }
      found.append(" ");
    }
    return found.toString().trim();
  }

  /** tls KEY-STORE TYPE PASSWORD-FILE TRUST-STORE TYPE PASSWORD-FILE|- HOST */
  private static String handshake(String[] words, ExecutorService threads) throws Exception {
    KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(load(words[1], words[2], words[3]), password(words[3]));
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(load(words[4], words[5], words[6]));
    SSLContext server = SSLContext.getInstance("TLS");
    server.init(keys.getKeyManagers(), null, null);
    SSLContext client = SSLContext.getInstance("TLS");
    client.init(null, trust.getTrustManagers(), null);
    try (SSLServerSocket listener =
        (SSLServerSocket) server.getServerSocketFactory().createServerSocket(0, 1, java.net.InetAddress.getByName("127.0.0.1"))) {
      Future<?> served =
          threads.submit(
              (Callable<Void>)
                  () -> {
                    try (SSLSocket accepted = (SSLSocket) listener.accept()) {
                      accepted.getOutputStream().write(accepted.getInputStream().read() + 1);
                    }
                    return null;
                  });
      java.net.Socket plain = new java.net.Socket("127.0.0.1", listener.getLocalPort());
      try (SSLSocket socket =
          (SSLSocket) client.getSocketFactory().createSocket(plain, words[7], listener.getLocalPort(), true)) {
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        socket.getOutputStream().write(41);
        int answer = socket.getInputStream().read();
        served.get();
        return answer == 42 ? "reached " + socket.getSession().getProtocol() : "confused";
      }
    }
  }

  private static KeyStore load(String file, String type, String password) throws Exception {
    KeyStore store = KeyStore.getInstance(type);
    try (InputStream content = Files.newInputStream(Path.of(file))) {
      store.load(content, password(password));
    }
    return store;
  }

  private static char[] password(String file) throws Exception {
    return file.equals("-") ? null : Files.readString(Path.of(file)).toCharArray();
  }
}
