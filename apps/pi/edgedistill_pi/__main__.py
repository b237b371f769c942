"""`python -m edgedistill_pi` is the command `edgedistill-pi`."""

import sys

from .app import main

sys.exit(main())
