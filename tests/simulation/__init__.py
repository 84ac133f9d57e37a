"""The whole exchange under random traffic and injected faults, reproducible from a seed: `run.py` is the entry."""
