"""The work of the two timers: trains models, checks the one that serves, trains anew or falls back when it drifts.

Pure but for the ports. A model serves as long as the pointer says so (`registry.py`); whoever scores asks for it. When
it has drifted and no better one can be trained, it is suspended: windows have no FleetScore, the streaming detectors
decide alone, and ModelHealth_CL, the log and `health` say so. The next promotion ends that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from functions.core.fleet_model.encoding import ModelUnreadable
from functions.core.fleet_model.health import Incidents, Measure, Status, measures_of, reasons
from functions.core.fleet_model.history import Disturbance, Rows, answer_of, rows_of
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.registry import Pointer, Registry
from functions.core.fleet_model.training import NotEnoughHistory, Split, fit, split
from functions.core.fleet_model.validation import Quality, beats, quality
from functions.core.ports import Columns, History, RowSink
from functions.core.rows import timestamp
from telemetry.errors import HistoryUnavailable
from telemetry.tables import MODEL_HEALTH_TABLE

HISTORY_QUERY, SIZE_QUERY, INCIDENTS_QUERY = "fleet_history", "fleet_size", "fleet_incidents"
DAYS = 14
"""Of history that a model is trained with: two weekends."""
MOST_ROWS = 100_000
"""Of one training, about: 74 nodes every 15 minutes. It takes some copies of 400 bytes each, 250 MB at the most."""
STEPS_MINUTES = (15, 35, 65, 125, 245, 485, 965, 1925, 3845, 7685)
"""From window to window of a node; all but the first hit other times of the day every day."""
AGAIN_AFTER_MS = 6 * 3_600_000
"""From one training because of drift to the next: one may fail for as long as the fleet is changing."""
GRACE_MINUTES = 15
"""After an incident, in which its windows are not yet taken for healthy."""
_STEP_LINE = "let Step = 15m;"
_TOLERATED_LOSS = 0.95
"""Of what a drifted model finds, that its successor must find: it fits the fleet as it is now."""


class State(StrEnum):
    """What becomes of windows."""

    SERVING = "serving"
    SUSPENDED = "suspended"
    ABSENT = "absent"


class Trained(NamedTuple):
    """What came of a training."""

    promoted: bool
    outcome: str
    """In words."""
    model: str = ""
    quality: Quality | None = None
    running: Quality | None = None
    """Of the model that served before, on the same windows."""


class Checked(NamedTuple):
    """What came of a check."""

    state: State
    drifted: str
    """Why; empty if it has not."""
    detail: str
    """What was done about it."""
    measures: list[Measure]


class Upkeep:
    """Keeps the fleet model in order. One run at a time per function app: the pointer's ETag refuses a second one."""

    def __init__(
        self, history: History, queries: Callable[[str], str], registry: Registry, sink: RowSink, *, days: int = DAYS
    ) -> None:
        self._history, self._queries, self._registry, self._sink = history, queries, registry, sink
        self._days = days
        self.problems: list[str] = []
        """What went wrong and was overcome; whoever runs this tells and clears them."""

    def train(self, now_ms: int, *, drifted: bool = False) -> Trained:
        """Trains a model of the last days and promotes it if it beats the one that serves. Raises TransientError."""
        pointer = self._pointer()
        rows = self._rows(now_ms, self._days)
        try:
            parts = split(rows)
            candidate = _fit(parts, now_ms)
        except NotEnoughHistory as error:
            return self._not_promoted(now_ms, f"not trained: {error}")
        measured = quality(candidate, parts.held_out)
        running = None if pointer.suspended else self._model(pointer)
        of_running = None if running is None else quality(running, parts.held_out)
        better = (
            measured.holds
            if of_running is None
            else beats(measured, of_running)
            or (drifted and measured.holds and measured.found >= _TOLERATED_LOSS * of_running.found)
        )
        if not better:
            outcome = f"not promoted: {_compared(measured, of_running)}"
            return self._not_promoted(now_ms, outcome)._replace(quality=measured, running=of_running)
        candidate.facts["quality"] = _numbers(measured)
        candidate.facts["quality_of_the_one_before"] = None if of_running is None else _numbers(of_running)
        outcome = f"promoted: {_compared(measured, of_running)}"
        self._registry.promote(candidate, now_ms, outcome)
        return Trained(True, outcome, candidate.id, measured, of_running)

    def check(self, now_ms: int) -> Checked:
        """Measures the model that serves, does what follows, and writes it to ModelHealth_CL. Raises TransientError."""
        pointer = self._pointer()
        model = self._model(pointer)
        measures: list[Measure] = []
        drifted = pointer.suspended
        if model is not None:
            measures = measures_of(model, self._rows(now_ms, 1), self._incidents_of_day(now_ms), now_ms)
            drifted = reasons(measures) or drifted
        checked = Checked(_state(pointer, model), drifted, "", measures)
        if model is None or drifted:
            checked = self._mend(checked, pointer, model, now_ms)
        served = model.id if model is not None else pointer.model
        self._sink.write(MODEL_HEALTH_TABLE, _health_rows(served, checked, now_ms))
        return checked

    def _mend(self, checked: Checked, pointer: Pointer, model: FleetModel | None, now_ms: int) -> Checked:
        """Trains anew unless that was tried a while ago; suspends a drifted model that cannot be replaced."""
        waited = now_ms - pointer.attempted_ms
        if 0 <= waited < AGAIN_AFTER_MS:
            detail = f"trained {waited // 60_000} min ago: {pointer.outcome}"
            if checked.drifted and model is not None and not pointer.suspended:
                # it was promoted or kept a short while ago, by what there was then; that did not help
                return self._suspend(checked, detail)
            return checked._replace(detail=detail)
        trained = self.train(now_ms, drifted=bool(checked.drifted))
        if trained.promoted:
            return checked._replace(state=State.SERVING, detail=trained.outcome)
        if model is None or pointer.suspended:
            return checked._replace(detail=trained.outcome)
        return self._suspend(checked, trained.outcome)

    def _suspend(self, checked: Checked, detail: str) -> Checked:
        self._registry.replace(suspended=checked.drifted)
        told = f"the streaming detectors decide alone: {checked.drifted}; {detail}"
        return checked._replace(state=State.SUSPENDED, detail=told)

    def _not_promoted(self, now_ms: int, outcome: str) -> Trained:
        self._registry.replace(attempted_ms=now_ms, outcome=outcome)
        return Trained(False, outcome)

    def _pointer(self) -> Pointer:
        try:
            return self._registry.pointer()[0]
        except ModelUnreadable as error:
            self.problems.append(str(error))
            return Pointer()

    def _model(self, pointer: Pointer) -> FleetModel | None:
        if not pointer.model:
            return None
        try:
            return self._registry.model(pointer.model)
        except ModelUnreadable as error:
            self.problems.append(str(error))
            return None

    def _rows(self, now_ms: int, days: int) -> Rows:
        """What the nodes were like in the last days, a day per query; nothing if none has reported in the last one."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        day = timedelta(days=1)
        answered = self._history.query(self._queries(SIZE_QUERY), now - day, now)
        nodes = max((int(count or 0) for count in _column(answered, "Nodes")), default=0)
        if not nodes:
            return rows_of([])
        step = next((step for step in STEPS_MINUTES if nodes * days * 1440 / step <= MOST_ROWS), STEPS_MINUTES[-1])
        text = self._queries(HISTORY_QUERY).replace(_STEP_LINE, f"let Step = {step}m;")
        answers = []
        for back in range(days, 0, -1):
            until = now - (back - 1) * day
            # both ends belong to a query's time: the next day begins just after this one
            found = self._history.query(text, until - day + timedelta(microseconds=1), until)
            try:
                answers.append(answer_of(found))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise HistoryUnavailable(f"Log Analytics gave windows in another form: {error!r}") from error
        return rows_of(answers, self._disturbances(now, days) if days > 1 else ())

    def _disturbances(self, now: datetime, days: int) -> list[Disturbance]:
        found = self._history.query(self._queries(INCIDENTS_QUERY), now - timedelta(days=days), now)
        names = ("Cluster", "Node", "Since", "Told", "Ends")
        return [
            Disturbance(
                str(cluster),
                str(node),
                int(since.timestamp()) // 60,
                int((told if ends else now).timestamp()) // 60 + GRACE_MINUTES,
            )
            for cluster, node, since, told, ends in zip(*(_column(found, name) for name in names), strict=True)
        ]

    def _incidents_of_day(self, now_ms: int) -> Incidents:
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        since = now - timedelta(days=1)
        found = self._history.query(self._queries(INCIDENTS_QUERY), since, now)
        size = self._history.query(self._queries(SIZE_QUERY), since, now)
        begun = [
            kind for kind, start in zip(_column(found, "Kind"), _column(found, "Since"), strict=True) if start >= since
        ]
        nodes = max((int(count or 0) for count in _column(size, "Nodes")), default=0)
        return Incidents(nodes, begun.count("outlier"), begun.count("unusual"))


def _fit(parts: Split, now_ms: int) -> FleetModel:
    learnt, held_out = parts
    facts = {
        "trained_ms": now_ms,
        "window": [timestamp(int(learnt.minutes[0]) * 60_000), timestamp(int(held_out.minutes[-1]) * 60_000)],
        "held_out_from": timestamp(int(held_out.minutes[0]) * 60_000),
        "rows": [len(learnt), len(held_out)],
        "nodes": len(set(learnt.nodes.tolist())),
    }
    digest = blake2b(learnt.features.tobytes() + held_out.features.tobytes(), digest_size=4).hexdigest()
    return fit(parts, f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%S}-{digest}", facts)


def _column(columns: Columns, name: str) -> Sequence[Any]:
    try:
        return columns[name]
    except LookupError:
        raise HistoryUnavailable(f"Log Analytics gave no column {name}, but {', '.join(columns)}") from None


def _state(pointer: Pointer, model: FleetModel | None) -> State:
    if model is None:
        return State.ABSENT
    return State.SERVING if pointer.serves else State.SUSPENDED


def _compared(measured: Quality, running: Quality | None) -> str:
    own = f"finds {measured.found:.1%} of made anomalies, {measured.alarm_rate:.2%} of healthy windows above the alarm"
    if running is None:
        return f"{own}; there was none before"
    return f"{own}; the one before {running.found:.1%} and {running.alarm_rate:.2%} of the same windows"


def _numbers(measured: Quality) -> dict[str, Any]:
    return measured._asdict()


def _health_rows(model: str, checked: Checked, now_ms: int) -> list[bytes]:
    """ModelHealth_CL: a row per measure, and one of the model as a whole."""
    at = timestamp(now_ms)
    whole = Measure("model", "", None, None, Status.DRIFTED if checked.drifted else Status.OK)
    if checked.state is State.ABSENT:
        whole = whole._replace(status=Status.WARNING)
    return [
        orjson.dumps(
            {
                "TimeGenerated": at,
                "WindowStart": at,
                "Model": "fleet",
                "ModelId": model,
                "State": checked.state,
                "Measure": one.name,
                "Feature": one.feature,
                "Value": None if one.value is None else float(f"{one.value:.6g}"),
                "Limit": None if one.limit is None else float(f"{one.limit:.6g}"),
                "Status": one.status,
                "Detail": checked.detail if one is whole else "",
            }
        )
        for one in (whole, *checked.measures)
    ]
