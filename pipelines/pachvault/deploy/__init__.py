"""Putting the pipelines into a cluster and taking them out: first planned, then carried out."""
