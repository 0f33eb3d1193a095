"""The two ways of an executor's `map`: through a batch, or through a replaced `submit`."""
