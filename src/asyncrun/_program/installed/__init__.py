"""Executors and other parts of the standard library, replaced by such that can be stopped."""
