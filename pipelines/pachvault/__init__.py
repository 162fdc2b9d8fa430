"""pachvault: backup for Pachyderm whose logic is Pachyderm pipelines."""

__version__ = "0.1.0.dev0"
