"""Verify: check the structure, the packs and the data of a vault, and schedule these checks."""
