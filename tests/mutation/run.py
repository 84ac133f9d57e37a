"""Change the money modules one line at a time and see which changes no test notices: `make mutation`.

mutmut makes the changes in a copy of the tree, so that a run never touches the source. What survives has to be
explained in docs/explanation/mutation.md; the exit code says whether all of it is.
"""

import argparse
import os
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path

from mutmut.__main__ import _run as run_mutmut
from mutmut.configuration import reset_config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files

HERE = Path(__file__).parent
TREE = HERE.parents[1]
PAGE = TREE / "docs/explanation/mutation.md"
COPY = TREE / "build/mutation"


def main() -> int:
    """Mutate, test, and compare what survived with the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mutants", nargs="*", help="names or patterns, such as 'perpkit.units.rounding.*'; default all")
    parser.add_argument("--report", action="store_true", help="only report what earlier runs found")
    arguments = parser.parse_args()
    if not arguments.report:
        if not arguments.mutants:
            shutil.rmtree(COPY, ignore_errors=True)
        copy_tree()
    os.chdir(COPY)
    reset_config()  # which was read where we started
    if not arguments.report:
        os.environ["CI"] = "1"  # the same examples each time
        # Calls that lack an argument raise as soon as they run: coverage says as much, and sooner.
        mutation_operators[:] = [each for each in mutation_operators if each[1] is not operator_arg_removal]
        run_mutmut(arguments.mutants, os.cpu_count())
    return report()


def copy_tree() -> None:
    """Bring the copy up to date, in a folder that version control ignores."""
    for name in ("src", "tests"):
        shutil.copytree(TREE / name, COPY / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(TREE / "pyproject.toml", COPY)
    shutil.copy2(HERE / "mutmut.cfg", COPY / "setup.cfg")
    shutil.copy2(HERE / "profile.py", COPY / "conftest.py")


def report() -> int:
    """Print a table of modules and every survivor that the page does not explain."""
    page, unexplained = PAGE.read_text(encoding="utf-8"), []
    counts: defaultdict[Path, Counter[str]] = defaultdict(Counter)
    for path in walk_mutatable_files():
        module = SourceFileMutationData(path=path)
        module.load()
        for name, exit_code in module.exit_code_by_key.items():
            status = status_by_exit_code[exit_code]
            counts[path][status] += 1
            if status not in ("killed", "timeout") and f"`{change(name, path)}`" not in page:
                unexplained.append((status, name, path))
    print("| module | mutants | killed | timed out | survived | score |", "|---|---|---|---|---|---|", sep="\n")
    for path, count in [*counts.items(), (Path("all"), sum(counts.values(), Counter[str]()))]:
        noticed = count["killed"] + count["timeout"]
        cells = [count.total(), count["killed"], count["timeout"], count.total() - noticed]
        name = path.as_posix().removeprefix("src/perpkit/")
        print(f"| `{name}` | {' | '.join(map(str, cells))} | {100 * noticed / count.total():.1f} % |")
    for status, name, path in unexplained:
        print(f"\n{status}: {name}\n{get_diff_for_mutant(name, path=path)}")
    return bool(unexplained)


def change(name: str, path: Path) -> str:
    """Return the line that a mutant has in place of ours."""
    lines = get_diff_for_mutant(name, path=path).splitlines()
    return " ".join(line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++"))


if __name__ == "__main__":
    sys.exit(main())
