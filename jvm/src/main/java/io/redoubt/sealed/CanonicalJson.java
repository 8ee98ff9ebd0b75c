package io.redoubt.sealed;

import java.nio.charset.StandardCharsets;

/** Writes canonical JSON (RFC 8785) of the values that commit records hold; the caller names members in sorted order. */
final class CanonicalJson {
    private final StringBuilder out = new StringBuilder();
    private boolean first = true;

    CanonicalJson open(char bracket) {
        separate();
        out.append(bracket);
        first = true;
        return this;
    }

    CanonicalJson close(char bracket) {
        out.append(bracket);
        first = false;
        return this;
    }

    CanonicalJson name(String name) {
        text(name);
        out.append(':');
        first = true;
        return this;
    }

    /** Writes a text, or null. */
    CanonicalJson text(String value) {
        separate();
        if (value == null) {
            out.append("null");
            return this;
        }
        out.append('"');
        value.chars().forEach(this::character);
        out.append('"');
        return this;
    }

    CanonicalJson number(long value) {
        separate();
        out.append(value);
        return this;
    }

    byte[] bytes() {
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }

    private void separate() {
        if (!first) {
            out.append(',');
        }
        first = false;
    }

    private void character(int c) {
        switch (c) {
            case '"', '\\' -> out.append('\\').append((char) c);
            case '\b' -> out.append("\\b");
            case '\t' -> out.append("\\t");
            case '\n' -> out.append("\\n");
            case '\f' -> out.append("\\f");
            case '\r' -> out.append("\\r");
            default -> {
                if (c < ' ') {
                    out.append(String.format("\\u%04x", c));
                } else {
                    out.append((char) c);
                }
            }
        }
    }
}
