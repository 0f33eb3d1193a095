"""The `Runner`, its task group, and its maps."""
