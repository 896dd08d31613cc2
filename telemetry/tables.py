"""Tables of Log Analytics: their columns, derived from the catalogue, and the data collection rule that feeds them.

For the function app and tools. `python -m telemetry.tables` writes the generated files under infra/log_analytics
and docs; a test says when they are stale.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric
from telemetry.prometheus_document import prometheus_document

NODE_METRICS_TABLE = "NodeMetrics_CL"
NODE_ANOMALIES_TABLE = "NodeAnomalies_CL"
NODE_FORECASTS_TABLE = "NodeForecasts_CL"
DEAD_LETTERS_TABLE = "DeadLetters_CL"
PIPELINE_RUNS_TABLE = "PipelineRuns_CL"
MODEL_HEALTH_TABLE = "ModelHealth_CL"

IMMUTABLE_ID = "dcr-00000000000000000000000000000000"
"""Of the local data collection rule; Azure gives the real one when Terraform makes it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its Log Analytics type and what it means."""

    name: str
    type: str
    description: str


TOTALS: tuple[tuple[int, int, Metric], ...] = tuple(
    (class_index, metric_index, metric)
    for class_index, device_class in enumerate(DEVICE_CLASSES)
    for metric_index, metric in enumerate(device_class.metrics)
    if metric.total
)
"""Device metrics with a node-level column: (device class, metric within it, metric)."""

MINIMA: tuple[int, ...] = tuple(index for index, metric in enumerate(NODE_METRICS) if metric.keeps_minimum)
"""Node metrics whose minimum is kept."""

NUMBER_COLUMNS: tuple[Column, ...] = (
    *(Column(f"{m.column}Avg", "real", f"{m.description} ({m.unit}), mean of the window") for m in NODE_METRICS),
    *(Column(f"{m.column}Max", "real", f"{m.description} ({m.unit}), maximum of the window") for m in NODE_METRICS),
    *(
        Column(f"{NODE_METRICS[i].column}Min", "real", f"{NODE_METRICS[i].description}, minimum of the window")
        for i in MINIMA
    ),
    *(
        Column(f"{m.column}Avg", "real", f"{m.description} ({m.unit}), all devices together, mean")
        if m.total == "sum"
        else Column(f"{m.column}Max", "real", f"{m.description} ({m.unit}), maximum of the worst device")
        for _, _, m in TOTALS
    ),
)
"""Numbers of a wide row, in the order `functions.core.rows` computes them."""

SCORED: tuple[int, ...] = tuple(index for index, metric in enumerate(NODE_METRICS) if metric.scored)
"""Node metrics that detectors look at."""

FEATURES: tuple[str, ...] = (*(NODE_METRICS[i].column for i in SCORED), *(m.column for _, _, m in TOTALS))
"""What windows are judged by, per node: the means, and the devices' totals or worst values."""

_KEY = (
    Column("TimeGenerated", "datetime", "Start of the window; Azure replaces it when it is over two days old"),
    Column("WindowStart", "datetime", "Start of the one-minute window, in the node's own time"),
    Column("Cluster", "string", "AKS cluster"),
    Column("Node", "string", "Node name"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    NODE_METRICS_TABLE: (
        *_KEY,
        Column("Pool", "string", "Node pool, empty until the agent has told it"),
        Column("Revision", "long", "Number of samples in the window; of several rows of a key the highest is the one"),
        Column("AnomalyScore", "real", "Highest score of any metric, 0 to 1; null: not judged, the node fell silent"),
        Column("AnomalyMetric", "string", "The metric with that score"),
        Column(
            "FleetScore", "real", "How unlike its pool: share of healthy windows less so; null: no model, small pool"
        ),
        *NUMBER_COLUMNS,
        *(Column(c.column, "dynamic", f"Per {c.key} device: mean of each metric") for c in DEVICE_CLASSES),
    ),
    NODE_ANOMALIES_TABLE: (
        *_KEY,
        Column("Pool", "string", "Node pool, empty until the agent has told it"),
        Column("IncidentId", "string", "The same in all rows of an incident; of a pool's, on all of its nodes"),
        Column(
            "Kind",
            "string",
            "unusual: metrics are not as usual; pool: the same on many nodes of the pool at once; outlier: the node is "
            "unlike its pool; silent: it stopped reporting; clock: its clock is wrong; exhaustion: something will be "
            "used up",
        ),
        Column("State", "string", "begin; update: it became worse, or maintenance is over and it is not; end"),
        Column("Severity", "string", "Critical, Error, Warning or Informational, as Azure Monitor has them"),
        Column("Suppressed", "boolean", "Of a time of maintenance: recorded, and nobody need come"),
        Column("Since", "datetime", "Start of the minute it began in, some minutes before it could be told"),
        Column("Explanation", "string", "One line for people: what, what was usual, since when, when it was alike"),
        Column("Revision", "long", "Number of samples in the window; the highest is the one"),
        Column("Metric", "string", "The strongest metric: its column without the statistic; empty: of the whole node"),
        Column("Score", "real", "Of the window the row was made with, 0 to 1"),
        Column("Value", "real", "Of the strongest metric when it was strongest; of silent and clock, seconds"),
        Column("Lower", "real", "Lower end of what was usual then"),
        Column("Upper", "real", "Upper end of what was usual then"),
        Column("Metrics", "dynamic", "Every metric of it, the strongest first, with value, band, and since when"),
    ),
    NODE_FORECASTS_TABLE: (
        Column("TimeGenerated", "datetime", "The moment it was forecast at"),
        Column("WindowStart", "datetime", "The same, never replaced: end of the newest data that it was made of"),
        Column("Cluster", "string", "AKS cluster"),
        Column("Node", "string", "Node name; empty: of a whole pool"),
        Column("Pool", "string", "Node pool"),
        Column("Kind", "string", "exhaustion: something of a node will be used up; demand: what a pool will need"),
        Column("Metric", "string", "Column of NodeMetrics_CL without its statistic"),
        Column("Device", "string", "Mount point; empty: of the whole node or pool"),
        Column("ForecastTime", "datetime", "exhaustion: when it is used up; demand: start of 15 minutes to come"),
        Column("SecondsLeft", "real", "exhaustion: until it is used up"),
        Column("Confidence", "real", "exhaustion: 0 to 1"),
        Column("Value", "real", "exhaustion: share in use now; demand: expected sum of the nodes' shares in use"),
        Column("Lower", "real", "demand: lower end of the band that eight of ten values are to be within"),
        Column("Upper", "real", "demand: its upper end"),
        Column("Limit", "real", "exhaustion: share at which it is used up"),
        Column("IncidentId", "string", "exhaustion: the incident that tells of it"),
    ),
    DEAD_LETTERS_TABLE: (
        Column("TimeGenerated", "datetime", "When Event Hubs received the event"),
        Column("EnqueuedTime", "datetime", "The same, never replaced"),
        Column("EventHub", "string", "Event hub"),
        Column("PartitionId", "string", "Partition"),
        Column("SequenceNumber", "long", "Position in the partition"),
        Column("Reason", "string", "Which rule it broke (telemetry.errors.RejectReason)"),
        Column("Detail", "string", "What was found and what would be right"),
        Column("SizeBytes", "long", "Size of the event"),
        Column("BlobName", "string", "Where the raw bytes are kept"),
    ),
    PIPELINE_RUNS_TABLE: (
        Column("TimeGenerated", "datetime", "Start of the run"),
        Column("WindowStart", "datetime", "Start of the run"),
        Column("RunId", "string", "One delivery of one batch"),
        Column("EventHub", "string", "Event hub"),
        Column("PartitionId", "string", "Partition"),
        Column("FirstSequenceNumber", "long", "First event of the batch"),
        Column("LastSequenceNumber", "long", "Last event of the batch"),
        Column("Received", "long", "Envelopes delivered"),
        Column("Stored", "long", "Folded into windows and committed"),
        Column("Duplicates", "long", "Recognised as received before"),
        Column("DeadLettered", "long", "Refused and kept with a reason"),
        Column("Rows", "long", "Rows written to Log Analytics"),
        Column("DurationMs", "real", "How long the run took"),
        Column("LagMs", "real", "Age of the oldest event of the batch when the run ended"),
    ),
    MODEL_HEALTH_TABLE: (
        Column("TimeGenerated", "datetime", "When the model was checked"),
        Column("WindowStart", "datetime", "The same, never replaced"),
        Column("Model", "string", "fleet: how unlike its pool a node is"),
        Column("ModelId", "string", "Which one of them; empty: there is none"),
        Column("State", "string", "serving; suspended: the streaming detectors decide alone; absent"),
        Column(
            "Measure",
            "string",
            "input_psi, missing_share (of features), score_psi, alarm_share, unscored_share, drifted_features, "
            "age_days, outliers_per_node_week, detected_per_node_week",
        ),
        Column("Feature", "string", "The metric; empty: of the whole model"),
        Column("Value", "real", "What was measured over the last day; null: there was nothing to measure"),
        Column("Limit", "real", "From which value on it has drifted; null: it never does"),
        Column("Status", "string", "ok, warning or drifted"),
        Column("Detail", "string", "What was done about it, or why the model does not serve"),
    ),
}


def data_collection_rule() -> dict[str, object]:
    """The rule's properties as ARM and Terraform spell them: one stream per table, rows pass unchanged."""
    return {
        "properties": {
            "immutableId": IMMUTABLE_ID,
            "streamDeclarations": {
                f"Custom-{table}": {"columns": [{"name": c.name, "type": c.type} for c in columns]}
                for table, columns in TABLES.items()
            },
            "dataFlows": [
                {
                    "streams": [f"Custom-{table}"],
                    "destinations": ["workspace"],
                    "transformKql": "source",
                    "outputStream": f"Custom-{table}",
                }
                for table in TABLES
            ],
        }
    }


def metrics_document() -> str:
    """docs/metrics.md: every metric with its name, unit and columns."""
    lines = [
        "# Metrics",
        "",
        "Generated from `telemetry/catalogue.py` by `python -m telemetry.tables`; do not edit.",
        "Names marked * are ours: OpenTelemetry has no convention for them.",
        "",
    ]

    def table(title: str, metrics: tuple[Metric, ...]) -> None:
        lines.extend([f"## {title}", "", "| key | OpenTelemetry | unit | column | meaning |", "|---|---|---|---|---|"])
        for metric in metrics:
            attributes = ", ".join(f"{name}={value}" for name, value in metric.attributes.items())
            name = f"`{metric.name}`{'' if metric.convention else ' *'}{f' {{{attributes}}}' if attributes else ''}"
            lines.append(f"| `{metric.key}` | {name} | {metric.unit} | {metric.column} | {metric.description} |")
        lines.append("")

    table("Node", NODE_METRICS)
    for device_class in DEVICE_CLASSES:
        table(f"Per {device_class.key} (`{device_class.attribute}`)", device_class.metrics)
    for name, columns in TABLES.items():
        lines.extend([f"## Table {name}", "", "| column | type | meaning |", "|---|---|---|"])
        lines.extend(f"| {column.name} | {column.type} | {column.description} |" for column in columns)
        lines.append("")
    return "\n".join(lines)


def generated_files() -> dict[str, str]:
    """Path -> content of every file that is made from the catalogue."""
    tables = {name: {column.name: column.type for column in columns} for name, columns in TABLES.items()}
    return {
        "infra/log_analytics/tables.json": json.dumps({"tables": tables}, indent=2) + "\n",
        "infra/log_analytics/dcr.json": json.dumps(data_collection_rule(), indent=2) + "\n",
        "docs/metrics.md": metrics_document(),
        "docs/prometheus-metrics.md": prometheus_document(),
    }


if __name__ == "__main__":
    for path, content in generated_files().items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)
        print(path)
