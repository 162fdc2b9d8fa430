"""Commands that check a vault or change it: `verify`, `repair`, `forget`, `prune`, `erase`, `maintenance`."""
