"""The seal stage: records, checks, and the manifest."""
