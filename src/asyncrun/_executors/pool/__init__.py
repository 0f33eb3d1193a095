"""Threads that take work items from one queue, and what they run."""
