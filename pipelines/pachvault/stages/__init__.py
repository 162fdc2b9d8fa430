"""The pipelines' stages: each translates between a worker and the functions that do the work.

Permanent errors (a bad policy, a partial backup, damage) are written to the output and the stage exits 0,
because a failed datum blocks all that follow. Other errors raise: Pachyderm tries the datum again.
"""
