"""Where a vault is stored: named objects, each complete or absent."""
