"""Collecting evidence on the attested machine: the one room of ``evidence`` that touches devices.

One module an interface. Each takes a ``root`` below which it looks for the interface, so that a tree of files can stand
in for a machine. Nothing here decides whether evidence is good: that is the verifier's, elsewhere.
"""
