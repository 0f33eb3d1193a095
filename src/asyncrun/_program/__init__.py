"""The launcher of unchanged programs, and all that it puts in place for them."""
