"""The replay stage of a restore: commits made, compared with the vault, branch heads moved."""
