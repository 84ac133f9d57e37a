"""For people who test a part of their own, or an exchange built from perpkit: `pip install perpkit[testing]`.

`builders`, `custody`, `fakes` and `scenario` need nothing but perpkit itself. `strategies` needs Hypothesis, and
`conformance` needs pytest as well.
"""
