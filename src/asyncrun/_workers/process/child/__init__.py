"""The worker process's own side."""
