"""A backup: freeze what is chosen, export what is new, seal a snapshot.

Data flows one way: policy → survey → plan and shares → receipts → manifest.
"""
