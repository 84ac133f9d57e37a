"""The conftest.py of the copy: few examples, because each mutant that survives pays for all of them."""

from hypothesis import settings

settings.register_profile("mutation", max_examples=8, deadline=None, derandomize=True, database=None)
