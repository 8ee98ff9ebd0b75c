"""What the owners allow, and whether what was proved is that: manifests, appraisal, attestation results, refusals.

Everything here but :mod:`redoubt.trust.store` and :mod:`redoubt.trust.owner_key` is pure: bytes, claims and a clock
in; a value, or one documented error, out.
Verification of evidence is the room above (:mod:`redoubt.evidence`); nothing here looks at unverified evidence.
"""
