"""The commands that this package adds to `pachvault`: `local` and `demo`."""
