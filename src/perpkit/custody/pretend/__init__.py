"""A world to play in: a chain in memory, a wallet in JSON, signatures that are none, and the embedded vault."""
