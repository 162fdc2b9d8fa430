"""Vault maintenance: verify, forget, prune, repair, erase, compare with the source, restore drills."""
