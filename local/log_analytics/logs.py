"""One JSON line per event on standard error. Used by the service's own modules."""

import json
import sys
from datetime import UTC, datetime


def log(event: str, **fields: object) -> None:
    """Write the event and its fields."""
    record = {"time": datetime.now(UTC).isoformat(), "service": "log_analytics", "event": event, **fields}
    print(json.dumps(record, default=str), file=sys.stderr, flush=True)
