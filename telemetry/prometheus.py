"""Prometheus names for what the catalogue calls by OpenTelemetry names: /metrics, dashboards, alert rules, docs.

Standard library only; anybody may import it. The rules are those of OpenTelemetry's Prometheus translation: what is
no letter or digit becomes `_`, units are appended in full (`By` -> `bytes`), `{x}` is no unit, a gauge of unit 1 is a
`ratio`, a counter ends in `_total`. Two more are ours:

- A metric that travels as a rate is the counter it is made of, because Prometheus makes its rates itself:
  `By/s` -> `bytes_total`; a share of time (unit 1) -> `seconds_total`.
- A gauge does not end in what Prometheus keeps for other types: `system.process.count` -> `system_process`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from telemetry.catalogue import CUSTOM, DEVICE_CLASSES, NODE_METRICS, POD, DeviceClass, Kind, Metric

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "d": "days",
        "h": "hours",
        "min": "minutes",
        "s": "seconds",
        "ms": "milliseconds",
        "us": "microseconds",
        "ns": "nanoseconds",
        "By": "bytes",
        "KiBy": "kibibytes",
        "MiBy": "mebibytes",
        "GiBy": "gibibytes",
        "TiBy": "tibibytes",
        "KBy": "kilobytes",
        "MBy": "megabytes",
        "GBy": "gigabytes",
        "TBy": "terabytes",
        "m": "meters",
        "V": "volts",
        "A": "amperes",
        "J": "joules",
        "W": "watts",
        "g": "grams",
        "Cel": "celsius",
        "Hz": "hertz",
        "1": "",
        "%": "percent",
    }
)
"""UCUM -> Prometheus; other units stay as they are."""
PER: Mapping[str, str] = MappingProxyType(
    {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
)
"""What stands after the slash of a unit."""

_WORDS = re.compile(r"[A-Za-z0-9]+")
_NOT_IN_A_LABEL = re.compile(r"[^A-Za-z0-9_]")
_PER_SECOND = re.compile(r",? a second\b")
_RESERVED = frozenset({"total", "created", "count", "sum", "bucket", "info"})


class Type(StrEnum):
    """What a family's numbers are."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


_SUFFIX = {Type.COUNTER: "_total", Type.INFO: "_info"}


@dataclass(frozen=True, slots=True)
class Family:
    """All series of one name: same type, same unit, same labels."""

    name: str
    """As OpenMetrics has it: without `_total` and `_info`."""
    type: Type
    unit: str
    """What the name ends in, '' for none."""
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name to ask for in PromQL; a histogram's has `_bucket`, `_sum` and `_count` appended."""
        return self.name + _SUFFIX.get(self.type, "")


@dataclass(frozen=True, slots=True)
class Series:
    """Where one metric is found: its family, and the labels that tell it from the family's other metrics."""

    family: Family
    labels: Mapping[str, str]


def series_of(metrics: Sequence[Metric], device_labels: tuple[str, ...] = ()) -> dict[str, Series]:
    """Gives every metric's series by its key. Raises ValueError where a family would not be one."""
    members: dict[str, list[Metric]] = {}
    for metric in metrics:
        members.setdefault(_name_of(metric)[0], []).append(metric)
    return {
        metric.key: Series(family, _labels_of(metric))
        for together in members.values()
        for family in [_family(together, device_labels)]
        for metric in together
    }


def device_labels(device_class: DeviceClass) -> tuple[str, ...]:
    """Gives the names of the labels that tell devices of a class apart."""
    if device_class is POD:
        return (label_name("k8s.namespace.name"), label_name(POD.attribute))
    return (label_name(device_class.attribute),)


def device_values(device: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Gives the values of `device_labels` for a device: a pod's name is NAMESPACE/POD."""
    if len(labels) == 1:
        return (device,)
    namespace, _, name = device.rpartition("/")
    return (namespace, name)


def label_name(attribute: str) -> str:
    """Gives the label's name for an OpenTelemetry attribute: `system.device` is `system_device`."""
    name = _NOT_IN_A_LABEL.sub("_", attribute)
    return f"key_{name}" if name[:1].isdigit() else name


def families(series: Iterable[Series]) -> tuple[Family, ...]:
    """Gives each family once, in order."""
    return tuple(dict.fromkeys(each.family for each in series))


def catalogue_families() -> dict[str, tuple[Family, ...]]:
    """Gives the families of the catalogue: of the node under "node", of devices under their class's key.

    What plug-ins measure has names of its own and is not among them.
    """
    return {"node": families(series_of(NODE_METRICS).values())} | {
        each.key: families(series_of(each.metrics, device_labels(each)).values())
        for each in DEVICE_CLASSES
        if each is not CUSTOM
    }


def _family(metrics: Sequence[Metric], device_labels: tuple[str, ...]) -> Family:
    (name, type_, unit), *others = {_name_of(metric) for metric in metrics}
    labels, *other_labels = {tuple(sorted(metric.attributes)) for metric in metrics}
    if others or other_labels or len({tuple(sorted(m.attributes.items())) for m in metrics}) < len(metrics):
        raise ValueError(
            f"{name}: {', '.join(metric.key for metric in metrics)} must have the same kind, unit and attributes, "
            "with different values of these"
        )
    own = tuple(label_name(attribute) for attribute in labels)
    return Family(name, type_, unit, _help_of(metrics), (*device_labels, *own))


def _name_of(metric: Metric) -> tuple[str, Type, str]:
    """Gives name, type and unit of the family that a metric belongs to."""
    words = _WORDS.findall(metric.name)
    if not words:
        raise ValueError(f"{metric.key}: a metric's name must have a letter or a digit, got {metric.name!r:.80}")
    counter = metric.kind is Kind.RATE
    main, _, per = (_counted(metric.unit) if counter else metric.unit).partition("/")
    unit = _unit(main, UNITS)
    if unit and unit not in words:
        words.append(unit)
    if (divisor := _unit(per, PER)) and divisor not in words:
        words += ["per", divisor]
        unit = f"{unit}_per_{divisor}" if unit else f"per_{divisor}"
    if counter:
        words = [word for word in words if word != "total"] or words
    elif metric.unit == "1":
        words, unit = [word for word in words if word != "ratio"] + ["ratio"], "ratio"
    while not counter and len(words) > 1 and words[-1] in _RESERVED:
        del words[-1]
    name = "_".join(words)
    name = f"_{name}" if name[0].isdigit() else name
    return name, Type.COUNTER if counter else Type.GAUGE, unit if name.endswith(f"_{unit}") else ""


def _counted(unit: str) -> str:
    """Gives the unit of the counter that a rate is made of; a share of time is counted in seconds."""
    return "s" if unit == "1" else unit.removesuffix("/s")


def _unit(ucum: str, names: Mapping[str, str]) -> str:
    ucum = ucum.strip()
    return "" if "{" in ucum or "}" in ucum else "_".join(_WORDS.findall(names.get(ucum, ucum)))


def _labels_of(metric: Metric) -> dict[str, str]:
    return {label_name(attribute): value for attribute, value in sorted(metric.attributes.items())}


def _help_of(metrics: Sequence[Metric]) -> str:
    if len(metrics) == 1:
        return _meaning(metrics[0])
    return "; ".join(
        f"{', '.join(f'{name}={value}' for name, value in _labels_of(metric).items())}: {_meaning(metric)}"
        for metric in metrics
    )


def _meaning(metric: Metric) -> str:
    """Says of a counter what it counts: the catalogue describes its rate."""
    if metric.kind is not Kind.RATE:
        return metric.description
    return _PER_SECOND.sub("", metric.description).replace("Share of time", "Seconds", 1)
