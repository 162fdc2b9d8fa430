"""The command line: one file a command group. The only place, with `worker`, that reads the environment."""
