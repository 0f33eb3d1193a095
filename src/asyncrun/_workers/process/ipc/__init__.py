"""How this process and a worker process talk: sockets and frames."""
