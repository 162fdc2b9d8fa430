"""Restore requests: read, planned, carried out by one run at a time, recorded."""
