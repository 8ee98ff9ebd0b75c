"""Pure verification of evidence: bytes, collateral and a clock in; verified claims out, or one documented error.

One module a format. A verifier judges *authenticity* only: whether the bytes were signed by the hardware (or service)
that they name, are fresh, and bind what the caller expects. Whether the proven claims are good enough (TCB status,
SNP debug, measurements) is the manifest's business. No module here reads a file, a clock or the network.
"""
