"""The product's function app without detection, beside which `bench.detection_cost` measures the whole one.

Windows are closed without being judged, and nothing is learnt; everything else is the product's own.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from functions.core import ingest

_close = ingest.close


def _close_unjudged(fleet: Any, nodes: Any, watch: Any, **rest: Any) -> Any:
    return _close(fleet, nodes, None, **rest)


ingest.close = _close_unjudged
app = runpy.run_path(str(Path(__file__).parents[2] / "function_app.py"))["app"]
