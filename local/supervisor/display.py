"""What `python -m local up` shows: progress, where to look, events, milestones, one live line. For `up` only.

On a terminal the last line is alive; elsewhere it is printed again every ten seconds.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from local.supervisor.child import Child, State
from local.supervisor.data_directory import DEFAULT_DATA
from local.supervisor.endpoints import Endpoints
from local.supervisor.pipeline import PipelineNumbers
from local.supervisor.programs import PORTS

_PLAIN_EVERY_SECONDS = 10.0
_EXAMPLE_KQL = "NodeMetrics() | project WindowStart, Node, CpuUtilizationAvg, MemoryUtilizationAvg | take 10"


class Display:
    """Prints for a person; a terminal that has gone away stops nothing."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._begun = time.monotonic()
        self._seen: dict[str, State] = {}
        self._printed = 0.0

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the live one; callable from any thread."""
        with contextlib.suppress(OSError):
            self._console.print(Text(text, style))

    def event(self, text: str) -> None:
        """Tell of something unexpected."""
        self.say(f"{datetime.now():%H:%M:%S} {text}", "yellow")

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Keep a live line at the bottom while inside, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4, transient=True) as self._live:
            yield
        self._live = None

    def progress(self, states: Mapping[str, State], endpoints: Endpoints) -> None:
        """Tell which programs have become ready, and what is waited for."""
        seconds = time.monotonic() - self._begun
        for name, state in states.items():
            if state is State.RUNNING and self._seen.get(name) is not State.RUNNING:
                own = ", ".join(str(endpoints.ports[port]) for port in PORTS[name] if port in endpoints.served)
                self.say(f"  {name:<14} ready after {seconds:4.1f} s{f'  on port {own}' if own else ''}", "green")
        self._seen = dict(states)
        waiting = [name for name, state in states.items() if state is not State.RUNNING]
        if self._live is not None:
            self._live.update(Text(f"waiting for {', '.join(waiting)} ({seconds:.0f} s)" if waiting else "", "dim"))

    def where_to_look(self, endpoints: Endpoints, data: Path) -> None:
        """Tell what a person can do now."""
        nodes = f"{endpoints.functions_url}/api/nodes"
        chosen = "" if data == DEFAULT_DATA.resolve() else f" --data {data}"
        command = "  .venv/bin/python -m local"
        self.say("")
        self.say(f"Snapshot of every node   {nodes}?code={endpoints.keys.functions}", "bold")
        self.say(f"  curl -H 'x-functions-key: {endpoints.keys.functions}' {nodes}")
        if endpoints.agent_url is not None:
            self.say("This machine's metrics, for Prometheus", "bold")
            self.say(f"  curl {endpoints.agent_url}/metrics")
        self.say("Ask in KQL", "bold")
        self.say(f"{command} kql{chosen} '{_EXAMPLE_KQL}'")
        self.say("More nodes; how it does; logs", "bold")
        self.say(f"{command} fleet{chosen} --nodes 20")
        self.say(f"{command} status{chosen}")
        self.say(f"{command} logs{chosen} functions -f")
        self.say(f"Logs, data and keys are in {data}. Ctrl-C stops everything.", "dim")
        self.say("")

    def status(self, numbers: PipelineNumbers, children: Mapping[str, Child]) -> None:
        """Show how things are: alive on a terminal, else a line now and then."""
        text = status_line(numbers, {name: child.state for name, child in children.items()})
        if self._live is not None:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self._printed >= _PLAIN_EVERY_SECONDS:
            self._printed = time.monotonic()
            self.say(text)


def status_line(numbers: PipelineNumbers, states: Mapping[str, State]) -> str:
    """One line: processes that are not well first, then nodes, flow, windows, what went wrong."""
    parts = []
    unwell = [f"{name} {state}" for name, state in states.items() if state is not State.RUNNING]
    parts.append(", ".join(unwell).upper() if unwell else f"{len(states)} process{'es' * (len(states) > 1)} well")
    if numbers.nodes is not None:
        silent = f" ({numbers.silent} silent)" if numbers.silent else ""
        parts.append(f"nodes {numbers.nodes}{silent}")
    if numbers.published is not None:
        waiting = f" (+{numbers.spooled} waiting)" if numbers.spooled else ""
        parts.append(f"published {numbers.published}{waiting}")
    parts += [
        f"{label} {value}"
        for label, value in (
            ("processed", numbers.received),
            ("windows", numbers.windows),
            ("anomalies", numbers.anomalies),
            ("dead letters", numbers.dead_letters),
        )
        if value is not None
    ]
    if numbers.sample_age is not None:
        parts.append(f"newest {numbers.sample_age:.0f} s ago")
    if numbers.lag is not None:
        parts.append(f"lag {numbers.lag:.2f} s")
    if numbers.problem:
        parts.append(f"? {numbers.problem[:80]}")
    return " | ".join(parts)
