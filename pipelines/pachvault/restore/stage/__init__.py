"""The fetch stage of a restore: large changes written into staged commits."""
