"""The embedded Pachyderm's pipelines (PPS): a double of the pps_v2 API on top of the PFS API.

It runs specs as local processes, one datum at a time per worker. It has no Kubernetes, no images, no
services or spouts, and knows only as much of a pipeline as the product and its tests lean on.
"""
