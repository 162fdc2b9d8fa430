"""Repair: rebuild from the vault or the cluster what can be rebuilt, and list what is lost."""
