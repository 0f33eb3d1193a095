"""Where calls run: each kind of worker."""
