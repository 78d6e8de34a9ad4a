"""`python -m edgekit_device` is `edgekit-agent`."""

import sys

from edgekit_device.cli import main

sys.exit(main())
