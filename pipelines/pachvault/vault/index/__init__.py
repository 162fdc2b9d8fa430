"""The index: its objects, their rows, and the view of them in memory."""
