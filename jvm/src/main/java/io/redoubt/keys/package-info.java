/** Wrapped and unwrapped data keys, and the client of the key endpoint. */
package io.redoubt.keys;
