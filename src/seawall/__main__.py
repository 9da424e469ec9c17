"""``python -m seawall`` is ``seawall``."""

from __future__ import annotations

import sys

from seawall.cli import main

if __name__ == "__main__":
    sys.exit(main())
