"""The executor whose calls run in processes."""
