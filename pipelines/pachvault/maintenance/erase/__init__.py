"""Erase: remove files from all snapshots, and their bytes from the vault, at once."""
