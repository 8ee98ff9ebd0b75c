"""Messages that two Redoubt processes exchange; pure data, no I/O."""
