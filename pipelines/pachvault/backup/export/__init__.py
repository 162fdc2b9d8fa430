"""The export stage: files to blobs, blobs to packs, rows to file tables."""
