"""`make bench-agent`: what the agent costs its node, printed as `name value unit`.

CPU time is measured at a sample interval of 0.1 s, as a whole run at 10 s would take an hour; `..._10s` is a short run
at 10 s, where caches are colder for both programs. `..._scraped`: /metrics of the agent is scraped once per sample
besides. `..._uncompressed`: node_exporter need not compress, which Prometheus asks it for. `..._aks`: on an AKS-shaped
host. `..._open`: there, too, with nothing excluded on either side.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.agent.aks_shape import compare_in_aks_shape
from bench.agent.comparison import Comparison, Plan, Way, compare
from bench.agent.image import SUMMARY, image_sizes
from bench.agent.memory import growth_kib, resident
from bench.agent.programs import Unmeasurable
from bench.agent.start import import_ms
from bench.catch_up import measure_catch_up
from bench.figures import Figures

RESULTS = Path("bench/results-agent.json")
AIMS = {
    "agent.ratio_vs_node_exporter": 0.5,
    "agent.ratio_vs_node_exporter_aks": 0.5,
    "agent.rss_mib": 40.0,
    "agent.rss_identity_mib": 60.0,
}
"""At most."""

Tell = Callable[[str], None]


def main() -> int:
    """Measures; exit code 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.agent.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the work, for continuous integration")
    parser.add_argument("--skip-aks", action="store_true", help="without the AKS-shaped host, which needs root")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    figures = Figures()
    try:
        _cpu(figures, tell, quick=options.quick, aks=not options.skip_aks)
        _memory(figures, tell, quick=options.quick)
        for figure in measure_catch_up(tell):
            figures.add(*figure)
    except Unmeasurable as error:
        print(f"bench-agent: {error}", file=sys.stderr)
        return 1
    _image(figures, tell)
    for name, most in AIMS.items():
        value = figures.value(name)
        if value is not None and value > most:
            tell(f"missed: {name} is {value:.3g}, at most {most:g} was aimed at")
    figures.write(options.results)
    return 0


def _cpu(figures: Figures, tell: Tell, *, quick: bool, aks: bool) -> None:
    plan = Plan(ticks=24, blocks=1) if quick else Plan()
    here = compare(plan, tell)
    _add(figures, here, "")
    _must_look_at_the_same(here)
    figures.add("agent.start_ms", here.start_ms, "ms")
    figures.add("agent.import_ms", import_ms(), "ms")
    if aks:
        tell("AKS-shaped host")
        shaped = compare_in_aks_shape(replace(plan, ways=(Way.PLAIN, Way.SCRAPED)) if quick else plan, tell)
        _add(figures, shaped, "_aks")
        _must_look_at_the_same(shaped)
        tell("AKS-shaped host, nothing excluded")
        everything = replace(plan, blocks=1, ways=(Way.PLAIN,) if quick else plan.ways, exclude_nothing=True)
        _add(figures, compare_in_aks_shape(everything, tell), "_open")
    if not quick:
        tell("at an interval of 10 s")
        _add(figures, compare(Plan(interval=10.0, ticks=6, blocks=1, ways=(Way.PLAIN,)), tell), "_10s")


def _memory(figures: Figures, tell: Tell, *, quick: bool) -> None:
    tell("memory")
    by_key, by_identity = resident(tell)
    figures.add("agent.rss_mib", by_key, "MiB")
    figures.add("agent.rss_identity_mib", by_identity, "MiB")
    samples = 1_000 if quick else 10_000
    figures.add("agent.rss_growth_kib", growth_kib(samples, tell), f"KiB ({samples} samples, less the first tenth)")


def _image(figures: Figures, tell: Tell) -> None:
    sizes = image_sizes()
    if sizes is None:
        tell(f"agent.image_mib: no image was built, there is no {SUMMARY}; make image builds one")
        return
    figures.add("agent.image_mib", sizes.pop("image"), "MiB")
    figures.add("agent.image_pulled_mib", sizes.pop("pulled"), "MiB")
    tell("in it: " + ", ".join(f"{name} {size:.1f} MiB" for name, size in sizes.items()))


def _add(figures: Figures, found: Comparison, suffix: str) -> None:
    for way, cost in found.costs.items():
        of_way = "" if way is Way.PLAIN else f"_{way}"
        figures.add(f"agent.cpu_ms_per_sample{of_way}{suffix}", cost.agent_ms, "ms")
        figures.add(f"node_exporter.cpu_ms_per_scrape{of_way}{suffix}", cost.exporter_ms, "ms")
        figures.add(f"agent.ratio_vs_node_exporter{of_way}{suffix}", cost.ratio, "")
    figures.add(f"node_exporter.rss_mib{suffix}", found.exporter_rss_mib, "MiB")
    for name, (ours, theirs) in found.devices.items():
        figures.add(f"agent.{name}_devices{suffix}", ours, f"(node_exporter {theirs})")


def _must_look_at_the_same(found: Comparison) -> None:
    """Raises Unmeasurable when one of the two has looked at fewer devices: it would look cheaper than it is."""
    for name, (ours, theirs) in found.devices.items():
        if ours != theirs:
            raise Unmeasurable(f"the agent looks at {ours} {name} devices and node_exporter at {theirs}")


if __name__ == "__main__":
    sys.exit(main())
