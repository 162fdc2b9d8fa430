"""How users write patterns, paths, times, sizes, schedules and YAML: the one place where each is parsed."""
