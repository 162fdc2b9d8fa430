"""The demo: the main job, end to end, on the embedded Pachyderm, with data that every machine has."""
