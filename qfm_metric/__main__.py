"""`python -m qfm_metric` is `qfm-metric`."""

import sys

from .cli import main

sys.exit(main())
