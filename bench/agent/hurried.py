"""The agent, sampling more often than its settings allow: 10,000 samples would take it 17 minutes at least.

`python -m bench.agent.hurried`. Otherwise it is the agent as it ships. For the agent's benchmark.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from agent import command_line
from agent.settings import Settings, read_settings

INTERVAL = 0.006
SAMPLES_PER_ENVELOPE = 3


def hurried(environ: Mapping[str, str], *, publishing: bool) -> Settings:
    """The settings with all intervals shortened."""
    settings = read_settings(environ, publishing=publishing)
    publish_interval = SAMPLES_PER_ENVELOPE * INTERVAL
    return replace(settings, sample_interval=INTERVAL, publish_interval=publish_interval, publish_spread=0.0)


if __name__ == "__main__":
    command_line.read_settings = hurried  # type: ignore[attr-defined]
    command_line.flush_and_exit(command_line.main(sys.argv[1:], os.environ))
