"""File content: segments, layers, trees, and reading and writing them."""
