"""What `perpkit bench` measures: ratios from one run, against a plain way of doing the same."""
