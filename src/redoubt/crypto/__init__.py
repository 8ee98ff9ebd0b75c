"""Pure cryptography: canonical encodings, C2SP chunked encryption (streams and ranges), key wrap. No I/O."""
