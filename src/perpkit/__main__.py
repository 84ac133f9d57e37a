"""`python -m perpkit` is the `perpkit` command."""

import sys

from perpkit.cli.main import main

sys.exit(main())
