"""Certificates: the broker's own, and those of roles of a trust domain, with SPIFFE names. No file, no clock."""
