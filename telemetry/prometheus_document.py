"""docs/prometheus-metrics.md: every family of the agent's /metrics. For `telemetry.tables`, which writes it."""

from __future__ import annotations

from collections.abc import Iterable

from telemetry.agent_metrics import AGENT_FAMILIES
from telemetry.catalogue import CUSTOM, DEVICE_CLASSES, NODE_METRICS, Metric
from telemetry.prometheus import Family, catalogue_families, device_labels, series_of


def prometheus_document() -> str:
    """Gives the document: the node, each class of devices, the agent itself."""
    lines = [
        "# Metrics at /metrics",
        "",
        "Generated from `telemetry/catalogue.py` and `telemetry/agent_metrics.py` by `python -m telemetry.tables`;",
        "do not edit. How they are scraped, and what the names follow: [prometheus.md](prometheus.md). The same",
        "metrics in Log Analytics: [metrics.md](metrics.md). OpenTelemetry names marked * are ours.",
        "",
    ]
    groups: dict[str, tuple[tuple[Metric, ...], tuple[str, ...]]] = {"node": (NODE_METRICS, ())} | {
        each.key: (each.metrics, device_labels(each)) for each in DEVICE_CLASSES if each is not CUSTOM
    }
    for key, families in catalogue_families().items():
        metrics, labels = groups[key]
        found = series_of(metrics, labels)
        sources = {family: [metric for metric in metrics if found[metric.key].family == family] for family in families}
        lines += _table("Node" if key == "node" else f"Per {key}", families, sources)
    lines += _table("The agent itself", AGENT_FAMILIES, {})
    return "\n".join(lines)


def _table(title: str, families: Iterable[Family], sources: dict[Family, list[Metric]]) -> list[str]:
    heading = "| name | type | labels | meaning |" + (" OpenTelemetry, unit there |" if sources else "")
    lines = [f"## {title}", "", heading, "|---" * (heading.count("|") - 1) + "|"]
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        row = f"| `{family.series}` | {family.type} | {labels} | {family.help} |"
        if sources:
            first = sources[family][0]
            row += f" `{first.name}`{'' if first.convention else ' *'}, {first.unit} |"
        lines.append(row)
    return [*lines, ""]
