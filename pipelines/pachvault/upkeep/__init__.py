"""Keeping a vault true."""
