"""The example in the README prints what the README says."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
EXAMPLE = re.compile(r"^```python\n(?P<code>.*?)^```\n\n^```text\n(?P<printed>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_example_prints_what_it_says() -> None:
    examples, names = list(EXAMPLE.finditer(README.read_text("utf-8"))), dict[str, object]()
    assert len(examples) == 2
    for example in examples:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(example["code"], names)
        assert printed.getvalue() == example["printed"]
