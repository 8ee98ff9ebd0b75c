package io.redoubt.write;

import java.io.IOException;

/** Lets checked exceptions through methods of Scala classes, which declare none but may throw any. */
public final class Sneaky {
    /** Something that fails with an IOException. */
    @FunctionalInterface
    public interface Call<T> {
        T call() throws IOException;
    }

    /** Something without a result that fails with an IOException. */
    @FunctionalInterface
    public interface Action {
        void run() throws IOException;
    }

    private Sneaky() {}

    /** Returns what a call returns. */
    public static <T> T get(Call<T> call) {
        try {
            return call.call();
        } catch (IOException e) {
            throw raise(e);
        }
    }

    /** Does something. */
    public static void run(Action action) {
        try {
            action.run();
        } catch (IOException e) {
            throw raise(e);
        }
    }

    /** Throws {@code e} as it is; declared to return so that callers can {@code throw} it. */
    public static RuntimeException raise(IOException e) {
        return Sneaky.<RuntimeException>unchecked(e);
    }

    @SuppressWarnings("unchecked")
    private static <E extends Exception> E unchecked(Exception e) throws E {
        throw (E) e;
    }
}
