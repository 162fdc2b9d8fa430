"""What a cluster remembers of restores: locks of requests, restores in progress, records of finished ones."""
