"""Where a vault lives: named objects, written whole or not at all."""
