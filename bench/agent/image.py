"""How large the agent's image is, as `make image` has left it. For the agent's benchmark."""

from __future__ import annotations

import json
from pathlib import Path

from bench.agent.programs import REPOSITORY

SUMMARY = REPOSITORY / ".local/image/image.json"
_MIB = 1024 * 1024


def image_sizes(summary: Path = SUMMARY) -> dict[str, float] | None:
    """MiB of the whole, of what is pulled, and of each part; None where no image was built."""
    if not summary.exists():
        return None
    image = json.loads(summary.read_text())
    sizes = {"image": image["bytes"], "pulled": image["compressed_bytes"], **image["parts"]}
    return {name: size / _MIB for name, size in sizes.items()}
