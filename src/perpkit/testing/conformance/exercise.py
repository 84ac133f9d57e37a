"""Runs the exercise of a suite in a process of its own, and prints the answers: what rule 930 starts."""

import importlib.util
import sys
from operator import attrgetter


def main(file: str, name: str) -> None:
    """Import the file that holds a suite, and print what its part answers."""
    spec = importlib.util.spec_from_file_location("suite_of_exercise", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    suite = attrgetter(name)(module)()
    sys.stdout.write(repr(suite.exercise(suite.made())))


if __name__ == "__main__":
    main(*sys.argv[1:])
