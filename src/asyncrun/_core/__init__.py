"""The flag, the errors, the registry, one call and one batch: no thread, no event loop."""
