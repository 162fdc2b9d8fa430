"""Extract: a snapshot to a plain folder, without Pachyderm."""
