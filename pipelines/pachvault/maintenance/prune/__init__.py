"""Prune: garbage collection of objects that no snapshot references."""
