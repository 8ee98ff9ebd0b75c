package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One HTTP/1.1 request and its answer, as the key endpoint speaks it: one call a connection, bodies of stated length. What
 * it does not understand is an error.
 */
final class HttpCall {
    /** A response: its status and body. */
    record Response(int status, byte[] body) {}

    private static final int MAX_BODY = 4 * 1024 * 1024;
    private static final int MAX_HEAD = 16 * 1024;
    private static final Pattern STATUS = Pattern.compile("HTTP/1\\.1 ([1-5][0-9]{2})( .*)?");
    private static final Pattern LENGTH = Pattern.compile("[0-9]{1,7}");

    private HttpCall() {}

    /** Sends a request, with a JSON body unless that is empty, and returns the answer. */
    static Response send(EndpointConnection connection, String method, String path, byte[] body) throws IOException {
        if (body.length > MAX_BODY) {
            throw new RedoubtException(ErrorCode.ENDPOINT_FAILED, "a request is longer than the endpoint allows");
        }
        StringBuilder head = new StringBuilder(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (Map.Entry<String, String> field : connection.credentials().entrySet()) {
            head.append(field.getKey()).append(": ").append(field.getValue()).append("\r\n");
        }
        head.append("Content-Type: application/json\r\nContent-Length: ").append(body.length).append("\r\n\r\n");
        ByteArrayOutputStream request = new ByteArrayOutputStream();
        request.writeBytes(head.toString().getBytes(StandardCharsets.US_ASCII));
        request.writeBytes(body);
        OutputStream out = connection.output();
        out.write(request.toByteArray());
        out.flush();
        return read(connection.input());
    }

    private static Response read(InputStream in) throws IOException {
        String[] lines = head(in).split("\r\n", -1);
        Matcher status = STATUS.matcher(lines[0]);
        if (!status.matches()) {
            throw malformed("status line");
        }
        int length = -1;
        for (int i = 1; i < lines.length; i++) {
            String[] field = lines[i].split(":", 2);
            String name = field[0].toLowerCase(Locale.ROOT);
            if (field.length != 2 || name.equals("transfer-encoding")) {
                throw malformed("header field");
            }
            if (name.equals("content-length")) {
                String value = field[1].strip();
                if (length >= 0 || !LENGTH.matcher(value).matches()) {
                    throw malformed("length");
                }
                length = Integer.parseInt(value);
            }
        }
        if (length < 0 || length > MAX_BODY) {
            throw malformed("length");
        }
        byte[] body = in.readNBytes(length);
        if (body.length != length) {
            throw malformed("length");
        }
        return new Response(Integer.parseInt(status.group(1)), body);
    }

    /** Reads up to and without the empty line that ends the head. */
    private static String head(InputStream in) throws IOException {
        StringBuilder head = new StringBuilder();
        while (head.length() < MAX_HEAD) {
            int next = in.read();
            if (next < 0) {
                throw malformed("head");
            }
            head.append((char) next);
            int end = head.length() - 4;
            if (end >= 0 && head.indexOf("\r\n\r\n", end) == end) {
                return head.substring(0, end);
            }
        }
        throw malformed("head");
    }

    private static RedoubtException malformed(String what) {
        return new RedoubtException(ErrorCode.ENDPOINT_FAILED, "the key endpoint answers with a malformed " + what);
    }
}
