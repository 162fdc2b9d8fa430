"""The backup as a whole, while its surroundings fail."""
