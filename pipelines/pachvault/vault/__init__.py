"""A vault's objects over a store: reading them checked, writing them in the order that is safe."""
