"""Entry point of `python -m local.functions_host`."""

import sys

from local.functions_host.cli import main

if __name__ == "__main__":
    sys.exit(main())
