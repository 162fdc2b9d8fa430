"""Rights: which calls need what, and a guard before every call."""
