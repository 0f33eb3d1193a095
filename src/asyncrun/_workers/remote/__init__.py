"""What every worker outside of this process shares: calls, items, pickles."""
