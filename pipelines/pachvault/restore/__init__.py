"""Bringing back: from the vault to a plain folder, or by replay into Pachyderm."""
