package io.redoubt;

import java.io.IOException;

/**
 * An error that Redoubt raises on purpose. Its message is {@code [code] what failed}, as in Python, and never holds key
 * material or cell values.
 */
public final class RedoubtException extends IOException {
    private static final long serialVersionUID = 1L;

    private final String code;

    /** An error of this code; {@code what} says what failed. */
    public RedoubtException(ErrorCode code, String what) {
        this(code.code(), what);
    }

    /** An error whose code another process of Redoubt chose. */
    public RedoubtException(String code, String what) {
        super("[" + code + "] " + what);
        this.code = code;
    }

    /** An error of this code with the exception that led to it. */
    public RedoubtException(ErrorCode code, String what, Throwable cause) {
        this(code, what);
        initCause(cause);
    }

    /** The dotted, lower-case code. */
    public String code() {
        return code;
    }
}
