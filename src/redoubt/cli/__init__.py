"""The `redoubt` command: one small module a command group."""
