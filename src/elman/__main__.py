"""`python -m elman`."""

import sys

from elman.cli.app import main

sys.exit(main())
