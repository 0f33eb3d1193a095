"""What the operating system and the event loop give to this process."""
