"""Log files of ours and of others: written, rotated, and their ends read in constant time."""
