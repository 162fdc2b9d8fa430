"""Benchmarks: pachvault beside its peers, in one run, on the same data and server. `python -m bench -h`.

No part of the product, and no test: nothing here passes or fails, it reports figures.
"""
