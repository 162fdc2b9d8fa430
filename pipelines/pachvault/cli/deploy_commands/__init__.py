"""The commands that put the pipelines into a cluster: `deploy`, `undeploy`, `specs`."""
