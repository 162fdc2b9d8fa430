"""Authentication, as Pachyderm 2.11.6 does it: tokens, roles, role bindings."""
