"""The gRPC methods of pipelines, and what a spec is checked for."""
