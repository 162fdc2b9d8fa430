"""Bringing back: from the vault to a plain folder."""
