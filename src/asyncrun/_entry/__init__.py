"""The entry point `run`: signals, exit status, the last line."""
