"""The pipelines' stages: each translates between a worker and the functions that do the work.

What is judged (a bad policy, a partial backup, damage) is a record and exit 0, because a failed datum
blocks all that follow. Any other failure raises: Pachyderm tries the datum again.
"""
