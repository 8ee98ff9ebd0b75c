/** Pure cryptography and encodings: field lists, headers, bodies, key slots. No input or output, no keys of its own. */
package io.redoubt.crypto;
