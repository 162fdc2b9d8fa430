"""The backup as a whole, on the embedded Pachyderm."""
