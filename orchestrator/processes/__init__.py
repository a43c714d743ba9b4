"""Child processes: start, watch, signal, end with all they started, and find again after a crash."""
