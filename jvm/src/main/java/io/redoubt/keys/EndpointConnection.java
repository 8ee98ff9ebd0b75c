package io.redoubt.keys;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Map;

/** One authenticated connection to the key endpoint, for one call; reads and writes fail when its time is over. */
interface EndpointConnection extends Closeable {
    /** What the server answers. */
    InputStream input() throws IOException;

    /** What is asked. */
    OutputStream output() throws IOException;

    /** Header fields with which a request proves that it may ask; empty where the connection itself proves it. */
    Map<String, String> credentials();
}
