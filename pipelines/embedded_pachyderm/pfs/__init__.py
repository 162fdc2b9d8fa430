"""The embedded Pachyderm's file system: a double of `pfs_v2.API`, over SQLite and segment files.

    service    the gRPC surface: which method is served by what
    database   SQLite, transactions, waiting for change
    repos, branches, commits, commitsets, provenance, propagate, triggers, finisher   the graph
    entries, layers, trees, listing                                what a commit holds
    segments, writer, tar, glob                                    bytes in, bytes out
    filesets, maintenance                                          temporary sets, what nobody needs

It behaves like Pachyderm 2.11.6 where pachvault depends on it, and is no more than that: a double.
"""
