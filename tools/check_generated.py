"""Says which generated files are stale: exit code 1 if any. Run by `make check`."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))


def main() -> int:
    """Compare every generated file with what would be generated now."""
    from telemetry.tables import generated_files

    stale = [
        path
        for path, content in generated_files().items()
        if not (REPOSITORY / path).exists() or (REPOSITORY / path).read_text() != content
    ]
    for path in stale:
        print(f"{path} is stale; run `make generated` and commit it", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
