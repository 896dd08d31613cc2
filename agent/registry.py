"""Finds the collectors that the settings ask for and makes them. For the command line and the settings.

Every module of `agent.collectors` is a built-in collector: its name is the module's, `make(host)` makes it. Other
names are those of plug-ins: `agent.plugins`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module

from agent import collectors
from agent.collector import Collector, Host

OPTIONAL = frozenset({"kubernetes"})
"""Built-in ones that only run where they are asked for by name."""


@cache
def built_in() -> tuple[str, ...]:
    """Names of the collectors that come with the agent, the optional ones included."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(collectors.__path__)))


def enabled_by_default() -> tuple[str, ...]:
    """Names of the collectors that run where the settings name none."""
    return tuple(name for name in built_in() if name not in OPTIONAL)


def third_party() -> frozenset[str]:
    """Names of the plug-ins that are installed. Ask only where a name is not built in: looking costs 2 MiB."""
    from agent import plugins

    return plugins.names()


def make_collectors(names: Sequence[str], host: Host) -> list[Collector]:
    """Makes collectors: the built-in ones in the order of their names, then the third-party ones.

    A third-party one that cannot be made is named in the log and left out.
    """
    made: list[Collector] = [
        import_module(f"{collectors.__name__}.{name}").make(host) for name in names if name in built_in()
    ]
    if strangers := [name for name in names if name not in built_in()]:
        from agent import plugins

        made += plugins.make_plugins(strangers, host)
    return made
