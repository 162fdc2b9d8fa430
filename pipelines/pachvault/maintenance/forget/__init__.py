"""Forget: drop snapshots by retention rules or by name, and bring them back."""
