"""The only place that talks to Pachyderm: connection, listings, streams, file sets."""

from pachvault.pach import lazy_protos

lazy_protos.spare()
