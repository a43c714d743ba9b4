"""The names that programs written for the public ComfyGit manager import: the same calls, done through the journal.

A `write_`, `cleanup_`, `acquire_` or `release_` is an event, and the file follows from it. They block, for some milliseconds
unless they say otherwise, and the loop never calls them. `metadata_dir` is a workspace's `.metadata` folder everywhere.
"""
