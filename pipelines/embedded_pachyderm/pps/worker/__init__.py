"""One datum in one worker: user code, its environment, its sandbox, its logs."""
