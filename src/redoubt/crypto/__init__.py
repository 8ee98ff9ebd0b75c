"""Pure cryptography: canonical encodings, C2SP chunked encryption (streams and ranges), key wrap. No I/O.

The modules ``legacy_*`` read what BigDL PPML wrote; nothing writes it.
"""
