"""The product's own decision, and the list of all decisions that can be evaluated.

The product tells of incidents, which its watch finds in every minute's windows, of what its forecasts foresee, and of
nodes that its fleet model finds unlike their pool. They are run apart, so that they can be told apart; `PRODUCT` is all
of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.eval.incidents import Incident, IncidentSource
from bench.eval.simple_decisions import AnyAlarm, BandForThreeWindows, StaticThresholds
from bench.eval.unlike import Outlying
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
"""Incidents, predictive alerts, outliers."""
FORESEEN = "incidents_and_forecasts"
"""The product without its fleet model."""
INCIDENTS = "incidents"
"""The product without its forecasts, too."""
OUTLIERS = "outliers"
"""The product's fleet model alone."""
PARTS: Mapping[str, tuple[str, ...]] = {PRODUCT: (INCIDENTS, OUTLIERS), FORESEEN: (INCIDENTS,)}
"""What predictive alerts are added to."""
SOURCES: Mapping[str, Callable[[Sequence[int]], IncidentSource]] = {
    INCIDENTS: Incidents,
    OUTLIERS: Outlying,
    "static_thresholds": StaticThresholds,
    "band": BandForThreeWindows,
    "any_alarm": AnyAlarm,
}
"""Makers of sources for nodes given by their index in the fleet, by the name that figures have."""
CHOICES = (*PARTS, *SOURCES)
