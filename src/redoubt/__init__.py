"""Redoubt: run unmodified data and ML programs on machines you do not trust."""

__version__ = "0.1.0"
