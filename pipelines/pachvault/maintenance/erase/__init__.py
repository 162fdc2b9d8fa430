"""Erase: remove files from all snapshots, and their bytes from the vault, without a grace period."""
