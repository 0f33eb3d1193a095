"""Shared by every worker outside of this process: calls, items, pickles."""
