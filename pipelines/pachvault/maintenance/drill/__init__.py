"""The restore drill: restore a random sample into a scratch project and compare it."""
