"""Putting programs into a TEE: sizes that fit together, and manifests under which a measurement proves something.

Nothing in this room decides who gets keys. It refuses what could not work in an enclave, and manifests under which a
measurement would prove nothing.
"""
