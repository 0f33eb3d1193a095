"""The `concurrent.futures` face."""
