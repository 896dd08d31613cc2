"""The product's own decision, and the list of all decisions that can be evaluated.

The product tells of incidents, which its watch finds in every minute's windows, and of what its forecasts foresee. They
are run apart, so that both can be told apart; `PRODUCT` is the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.eval.incidents import Incident, IncidentSource
from bench.eval.simple_decisions import AnyAlarm, BandForThreeWindows, StaticThresholds
from functions.core.policy.incidents import Phase, Watched
from functions.core.watch import Seen, Watch
from local.fleet.pools import node_name, pool_of
from telemetry.layout import Floats, Indexes


class Incidents:
    """What `functions.core.close` has decided of closed windows: detectors and policy as they are shipped."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._watch = Watch()
        self._nodes = [(("sim", node_name(node)), pool_of(node).name, Watched()) for node in nodes]

    def feed(self, minute: int, nodes: Indexes, features: Floats) -> Iterator[Incident]:
        """Judges, learns."""
        places = nodes.tolist()
        seen = [Seen(key, pool, minute, watched) for key, pool, watched in (self._nodes[place] for place in places)]
        judged = self._watch.judge(seen, features)
        self._watch.keep()
        for place, one in zip(places, judged, strict=True):
            for told in one.told:
                if told.phase is Phase.BEGIN:
                    metric = told.incident.strongest_first[0].metric
                    yield Incident(place, minute, told.incident.kind, metric, told.incident.id)


PRODUCT = "product"
"""Incidents and predictive alerts."""
INCIDENTS = "incidents"
"""The product without its forecasts."""
SOURCES: Mapping[str, Callable[[Sequence[int]], IncidentSource]] = {
    INCIDENTS: Incidents,
    "static_thresholds": StaticThresholds,
    "band": BandForThreeWindows,
    "any_alarm": AnyAlarm,
}
"""Makers of sources for nodes given by their index in the fleet, by the name that figures have."""
CHOICES = (PRODUCT, *SOURCES)
