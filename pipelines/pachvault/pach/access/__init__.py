"""How a cluster is reached, and as whom: addresses, pachctl's context, rights."""
