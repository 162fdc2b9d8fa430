"""What belongs to the process, not to backups: progress, worker processes, terminal output, allocator."""
