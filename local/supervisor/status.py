"""`python -m local status`: how a running stack is, as a table or JSON. For the command line only."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from local.supervisor.child import State
from local.supervisor.data_directory import DataDirectory
from local.supervisor.pipeline import Pipeline, PipelineNumbers
from local.supervisor.stack_file import ProcessFacts, RunningStack, find_running

_MIB = 1024 * 1024


def status(data: DataDirectory, *, as_json: bool) -> int:
    """Print how the stack is; 0 when everything is well, 1 when something is down or does not answer."""
    stack = find_running(data)
    rss = {name: _rss(process.pid) for name, process in stack.processes.items()}
    numbers = Pipeline(stack.environment, data.program("agent") / "status.json").look()
    well = numbers.problem is None and all(_is_well(process) for process in stack.processes.values())
    if as_json:
        json.dump(_document(stack, rss, numbers, well), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print(stack, rss, numbers, Console(highlight=False))
    return 0 if well else 1


def _is_well(process: ProcessFacts) -> bool:
    return process.state == State.RUNNING and process.pid is not None and psutil.pid_exists(process.pid)


def _rss(pid: int | None) -> int | None:
    """Memory of a process and its descendants in bytes."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family)
    except psutil.NoSuchProcess:
        return None


def _document(
    stack: RunningStack, rss: Mapping[str, int | None], numbers: PipelineNumbers, well: bool
) -> dict[str, Any]:
    processes = {
        name: {
            "state": process.state,
            "pid": process.pid,
            "ports": dict(process.ports),
            "rss_bytes": rss[name],
            "restarts": process.restarts,
            "log": str(process.log),
        }
        for name, process in stack.processes.items()
    }
    return {
        "well": well,
        "supervisor_pid": stack.supervisor_pid,
        "started": stack.started.isoformat(),
        "urls": stack.urls,
        "processes": processes,
        "pipeline": asdict(numbers),
    }


def _print(stack: RunningStack, rss: Mapping[str, int | None], numbers: PipelineNumbers, console: Console) -> None:
    table = Table(header_style="bold")
    for heading in ("process", "state", "pid", "ports", "RSS MiB", "restarts"):
        table.add_column(heading, justify="left" if heading in ("process", "state", "ports") else "right")
    for name, process in stack.processes.items():
        memory = rss[name]
        table.add_row(
            name,
            process.state if _is_well(process) else f"[red]{process.state}[/red]",
            str(process.pid or ""),
            ", ".join(map(str, process.ports.values())),
            f"{memory / _MIB:.0f}" if memory else "",
            str(process.restarts),
        )
    console.print(table)
    minutes = (datetime.now(UTC) - stack.started).total_seconds() / 60
    console.print(f"up for {minutes:.1f} min under supervisor {stack.supervisor_pid}; {stack.urls['nodes']}")
    if metrics := stack.urls.get("metrics"):
        console.print(f"metrics of this machine for Prometheus: {metrics}")
    for name, value in asdict(numbers).items():
        if value is not None:
            shown = f"{value:.2f} s" if isinstance(value, float) else value
            console.print(f"  {name.replace('_', ' '):<12} {shown}")
