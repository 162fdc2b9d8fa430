"""A restore: plan, stage large changes, replay commits, compare them with the vault, move heads."""
