"""The operating system and the event loop, as this process uses them."""
