"""Workloads that Redoubt ships to demonstrate and measure itself on real engines."""
