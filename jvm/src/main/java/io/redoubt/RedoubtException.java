package io.redoubt;

import org.apache.hadoop.security.AccessControlException;

/**
 * An error that Redoubt raises on purpose. Its message is {@code [code] what failed}, as in Python, and never holds key
 * material or cell values.
 *
 * <p>It is an {@link AccessControlException}, and so an {@code IOException}, because that is the one kind that Spark's readers
 * never take for a corrupt file to pass over ({@code spark.sql.files.ignoreCorruptFiles}): tampered data must not turn into
 * fewer rows.
 */
public final class RedoubtException extends AccessControlException {
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
