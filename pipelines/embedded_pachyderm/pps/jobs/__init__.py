"""Jobs and datums: from output commits to finished ones, cron ticks included."""
