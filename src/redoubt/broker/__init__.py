"""The broker: appraises evidence against the owners' manifest and releases keys, a KBS and a KMS in one."""
