package io.redoubt.parquet;

import java.io.IOException;

/** Lets checked exceptions through methods of Scala classes, which declare none but may throw any. */
final class Sneaky {
    /** Something that fails with an IOException. */
    @FunctionalInterface
    interface Call<T> {
        T call() throws IOException;
    }

    /** Something without a result that fails with an IOException. */
    @FunctionalInterface
    interface Action {
        void run() throws IOException;
    }

    private Sneaky() {}

    static <T> T get(Call<T> call) {
        try {
            return call.call();
        } catch (IOException e) {
            throw raise(e);
        }
    }

    static void run(Action action) {
        try {
            action.run();
        } catch (IOException e) {
            throw raise(e);
        }
    }

    /** Throws {@code e} as it is; declared to return so that callers can {@code throw} it. */
    static RuntimeException raise(IOException e) {
        return Sneaky.<RuntimeException>unchecked(e);
    }

    @SuppressWarnings("unchecked")
    private static <E extends Exception> E unchecked(Exception e) throws E {
        throw (E) e;
    }
}
