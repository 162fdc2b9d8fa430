"""Compare a snapshot with its source: the live repos and the backup repo."""
