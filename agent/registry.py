"""Finds the collectors that the settings ask for and makes them. For the command line and the settings.

Every module of `agent.collectors` is a built-in collector: its name is the module's, `make(host)` makes it. Other
names are entry points of the group `devops_monitor.collectors`, whose object is such a `make`: see
docs/add-a-collector.md.
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module

from agent import collectors
from agent.collector import Collector, CustomCollector, Host
from telemetry.catalogue import Metric

log = logging.getLogger(__name__)

PLUGINS = "devops_monitor.collectors"
"""Entry point group of third-party collectors."""
OPTIONAL = frozenset({"kubernetes"})
"""Built-in ones that only run where they are asked for by name."""

Make = Callable[[Host], Collector]


@cache
def built_in() -> tuple[str, ...]:
    """Names of the collectors that come with the agent, the optional ones included."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(collectors.__path__)))


def enabled_by_default() -> tuple[str, ...]:
    """Names of the collectors that run where the settings name none."""
    return tuple(name for name in built_in() if name not in OPTIONAL)


def plugins() -> frozenset[str]:
    """Names of the third-party collectors that are installed; looking them up costs 2 MiB."""
    from importlib.metadata import entry_points

    return frozenset(point.name for point in entry_points(group=PLUGINS))


def make_collectors(names: Sequence[str], host: Host) -> list[Collector]:
    """Makes collectors in the order of their names. A third-party one that cannot be made is named and left out."""
    made: list[Collector] = []
    for name in names:
        if name in built_in():
            made.append(import_module(f"{collectors.__name__}.{name}").make(host))
        elif (collector := _make_plugin(name, host)) is not None:
            made.append(collector)
    return made


def _make_plugin(name: str, host: Host) -> Collector | None:
    from importlib.metadata import entry_points

    try:
        (point,) = entry_points(group=PLUGINS, name=name)
        collector: Collector = point.load()(host)
        _check(name, collector)
    except Exception as error:  # whatever a stranger's code does must not cost the node's own metrics
        log.error(
            "collector_unusable",
            extra={
                "collector": name,
                "problem": f"{type(error).__name__}: {error}"[:300],
                "consequence": "it is left out; correct or remove it, or take its name out of AGENT_COLLECTORS",
            },
        )
        return None
    return collector


def _check(name: str, collector: Collector) -> None:
    """Raises TypeError for what the sampler could not work with."""
    if collector.name != name:
        raise TypeError(f"its name must be that of its entry point, {name!r}, got {collector.name!r:.80}")
    if not callable(collector.collect):
        raise TypeError(f"collect must be a method, got {collector.collect!r:.80}")
    if isinstance(collector, CustomCollector):
        wrong = [each for each in collector.metrics if not isinstance(each, Metric)]
        if wrong:
            raise TypeError(f"metrics must be telemetry.catalogue.Metric, got {wrong[0]!r:.80}")
