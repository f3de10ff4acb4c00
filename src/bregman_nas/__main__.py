"""`python -m bregman_nas` is `bregman-nas`."""

import sys

from bregman_nas.cli import main

sys.exit(main())
