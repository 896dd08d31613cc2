"""`python -m bench.eval`."""

import sys

from bench.eval.run import main

if __name__ == "__main__":
    sys.exit(main())
