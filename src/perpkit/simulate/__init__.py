"""The demo's world: price paths, a population of traders and market makers, and a run of both on one venue."""
