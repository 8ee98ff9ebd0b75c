"""Primary keys and data keys: names, the Provider protocol, the local keystore, the workspace."""
