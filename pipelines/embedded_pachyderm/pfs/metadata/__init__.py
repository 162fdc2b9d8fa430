"""Projects, repos, branches, commits and commit sets, in one SQLite file."""
