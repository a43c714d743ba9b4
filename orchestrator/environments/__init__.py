"""Environments on disk: their content, whether they would start, and syncing them in the background."""
