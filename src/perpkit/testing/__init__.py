"""For people who test a part of their own, or an exchange built from perpkit: `pip install perpkit[testing]`.

`builders` and `fakes` need nothing but perpkit; `strategies` needs Hypothesis, `conformance` pytest as well.
"""
