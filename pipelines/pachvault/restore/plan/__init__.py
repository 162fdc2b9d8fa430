"""Planning a restore: which commits, in which order, from where, into what."""
