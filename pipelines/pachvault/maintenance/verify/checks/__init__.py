"""The checks of a verification, each of one part of a vault."""
