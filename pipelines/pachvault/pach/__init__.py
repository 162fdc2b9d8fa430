"""The only place that talks to Pachyderm: connection, listings, streams, file sets."""
