"""Who signs is drawn: commitments, reveals, and a block that nobody knew."""
