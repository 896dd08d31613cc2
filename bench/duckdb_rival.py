"""DuckDB doing the core's job: one SQL statement over newline JSON, the fastest honest form we found.

Everything is in its favour: columns are declared, the metrics are laid out as typed lists by name, nothing is
validated, numbers are not checked against duplicates, the score's bands are given and not learnt, output is plain
JSON written to a file in memory, and only the best of two forms counts (samples unnested, or envelopes cut at the
minute). Its rows are compared with ours: a rival that computes something else proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
from isal import igzip

from bench.core import cpu_seconds
from bench.workload import Workload
from functions.core.bodies import MAX_BODY_BYTES
from functions.core.rows import mean_scale
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Metric
from telemetry.tables import MINIMA, TOTALS

_CLASSES = tuple(device_class for device_class in DEVICE_CLASSES if not device_class.optional)
"""Those of the workload's nodes; DuckDB need not look for others."""


@dataclass(frozen=True, slots=True)
class RivalResult:
    """CPU seconds per sample of the better form, which form it was, and its rows."""

    seconds_per_sample: float
    form: str
    rows: list[dict[str, object]]


def rival(workload: Workload, folder: Path, repeats: int = 3) -> RivalResult:
    """Measures DuckDB on a workload; `folder` should be in memory."""
    source = folder / "envelopes.jsonl"
    with source.open("w") as file:
        for envelope in workload.envelopes:
            line = {
                "cluster": envelope.cluster,
                "node": envelope.node,
                "time": envelope.time,
                "metrics": envelope.metrics,
                **envelope.devices,
            }
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    best: RivalResult | None = None
    for form, sql in (("unnested", _unnested(source)), ("cut", _cut(source))):
        target = folder / f"{form}.json"
        connection = duckdb.connect()
        connection.execute("set threads = 1")
        connection.execute(_bands())

        def job(connection: duckdb.DuckDBPyConnection = connection, sql: str = sql, target: Path = target) -> None:
            connection.execute(f"copy ({sql}) to '{target}' (format json, compression uncompressed)")
            body = target.read_bytes()
            for start in range(0, len(body), MAX_BODY_BYTES):
                igzip.compress(body[start : start + MAX_BODY_BYTES], 1)

        seconds = min(cpu_seconds(job) for _ in range(repeats)) / workload.samples
        if best is None or seconds < best.seconds_per_sample:
            best = RivalResult(seconds, form, [json.loads(line) for line in target.read_text().splitlines()])
        connection.close()
    assert best is not None
    return best


def _digits(metric: Metric) -> int:
    return len(str(round(mean_scale(metric)))) - 1


def _read(source: Path) -> str:
    metrics = ", ".join(f'"{metric.key}" DOUBLE[]' for metric in NODE_METRICS)
    columns = ["cluster: 'VARCHAR'", "node: 'VARCHAR'", "time: 'BIGINT[]'", f"metrics: 'STRUCT({metrics})'"]
    for device_class in _CLASSES:
        fields = ", ".join(f'"{metric.key}" DOUBLE[][]' for metric in device_class.metrics)
        columns.append(f"{device_class.key}: 'STRUCT({device_class.identity} VARCHAR[], {fields})'")
    return f"read_json('{source}', format = 'newline_delimited', columns = {{{', '.join(columns)}}})"


def _bands() -> str:
    """A table with one centre and width per metric: what a score needs at the very least."""
    fields = ", ".join(f'0.5 as "c{i}", 8.0 as "w{i}"' for i in range(len(NODE_METRICS)))
    return f"create table bands as select {fields}"


def _score() -> str:
    distances = ", ".join(f"abs(s{i} / n - c{i}) / w{i}" for i in range(len(NODE_METRICS)))
    return f"greatest({distances})"


def _outer(inner: str) -> str:
    """Groups parts (sums, maxima, lists of device sums) by node and minute and makes the wide row."""
    grouped = ["cluster", "node", "m", "sum(n) as n"]
    for i in range(len(NODE_METRICS)):
        grouped += [f"sum(s{i}) as s{i}", f"max(x{i}) as x{i}"] + ([f"min(l{i}) as l{i}"] if i in MINIMA else [])
    for c, device_class in enumerate(_CLASSES):
        grouped.append(f"first(names{c}) as names{c}")
        for k, metric in enumerate(device_class.metrics):
            grouped.append(f"list(d{c}_{k}) as d{c}_{k}")
            if metric.total == "max":
                grouped.append(f"max(x{c}_{k}) as x{c}_{k}")
    row = [
        "make_timestamp(m * 60000000) as TimeGenerated",
        "make_timestamp(m * 60000000) as WindowStart",
        "cluster as Cluster, node as Node, '' as Pool, n as Revision",
        f"{_score()} as AnomalyScore",
    ]
    row += [f'round(s{i} / n, {_digits(m)}) as "{m.column}Avg"' for i, m in enumerate(NODE_METRICS)]
    row += [f'x{i} as "{m.column}Max"' for i, m in enumerate(NODE_METRICS)]
    row += [f'l{i} as "{NODE_METRICS[i].column}Min"' for i in MINIMA]
    for c, k, metric in TOTALS:
        if metric.total == "sum":
            row.append(f'round(list_sum(flatten(d{c}_{k})) / n, {_digits(metric)}) as "{metric.column}Avg"')
        else:
            row.append(f'x{c}_{k} as "{metric.column}Max"')
    for c, device_class in enumerate(_CLASSES):
        fields = ", ".join(
            f"'{device_class.field(m)}': round(list_sum(list_transform(d{c}_{k}, lambda p: p[i])) / n, {_digits(m)})"
            for k, m in enumerate(device_class.metrics)
        )
        devices = f"list_transform(range(1, len(names{c}) + 1), lambda i: {{'Device': names{c}[i], {fields}}})"
        row.append(f'{devices} as "{device_class.column}"')
    groups = f"select {', '.join(grouped)} from parts group by cluster, node, m"
    return f"with parts as ({inner}), g as ({groups}) select {', '.join(row)} from g, bands"


def _unnested(source: Path) -> str:
    fields = ["cluster", "node", "t // 60000 as m", "1 as n"]
    for i, metric in enumerate(NODE_METRICS):
        value = f'metrics."{metric.key}"[j]'
        fields += [f"{value} as s{i}", f"{value} as x{i}"] + ([f"{value} as l{i}"] if i in MINIMA else [])
    for c, device_class in enumerate(_CLASSES):
        fields.append(f"{device_class.key}.{device_class.identity} as names{c}")
        for k, metric in enumerate(device_class.metrics):
            values = f'list_transform({device_class.key}."{metric.key}", lambda v: v[j])'
            fields.append(f"{values} as d{c}_{k}")
            if metric.total == "max":
                fields.append(f"list_max({values}) as x{c}_{k}")
    samples = f"select *, unnest(time) as t, unnest(range(1, len(time) + 1)) as j from {_read(source)}"
    return _outer(f"select {', '.join(fields)} from ({samples})")


def _cut(source: Path) -> str:
    fields = ["cluster", "node", "m", "b - a + 1 as n"]
    for i, metric in enumerate(NODE_METRICS):
        values = f'metrics."{metric.key}"[a:b]'
        fields += [f"list_sum({values}) as s{i}", f"list_max({values}) as x{i}"]
        if i in MINIMA:
            fields.append(f"list_min({values}) as l{i}")
    for c, device_class in enumerate(_CLASSES):
        fields.append(f"{device_class.key}.{device_class.identity} as names{c}")
        for k, metric in enumerate(device_class.metrics):
            column = f'{device_class.key}."{metric.key}"'
            fields.append(f"list_transform({column}, lambda v: list_sum(v[a:b])) as d{c}_{k}")
            if metric.total == "max":
                fields.append(f"list_max(list_transform({column}, lambda v: list_max(v[a:b]))) as x{c}_{k}")
    first = "len(list_filter(time, lambda t: t // 60000 = time[1] // 60000))"
    parts = (
        f"[{{'m': time[1] // 60000, 'a': 1, 'b': {first}}}] || case when time[-1] // 60000 > time[1] // 60000 "
        f"then [{{'m': time[-1] // 60000, 'a': {first} + 1, 'b': len(time)}}] else [] end"
    )
    return _outer(
        f"select {', '.join(fields)} from (select *, unnest({parts}, recursive := true) from {_read(source)})"
    )


def differences(ours: list[bytes], theirs: list[dict[str, object]]) -> Iterator[str]:
    """Where rows that both made say different things, beyond how a tie is rounded in the last digit."""
    known = {(row["Node"], str(row["WindowStart"])[:16].replace(" ", "T"), row["Revision"]): row for row in theirs}
    for text in ours:
        row = json.loads(text)
        where = f"{row['Node']} {row['WindowStart']}"
        other = known.get((row["Node"], row["WindowStart"][:16], row["Revision"]))
        if other is None:
            yield f"{where} is missing"
            continue
        yield from _compare(where, row, other)
        for device_class in _CLASSES:
            devices = other[device_class.column]
            assert isinstance(devices, list)
            for mine, his in zip(row[device_class.column], devices, strict=True):
                yield from _compare(f"{where} {mine['Device']}", mine, his)


_LAST_DIGIT = {
    name: 1.0 / mean_scale(metric)
    for metric in (*NODE_METRICS, *(metric for c in _CLASSES for metric in c.metrics))
    for name in (f"{metric.column}Avg", f"{metric.column}Max", f"{metric.column}Min")
} | {c.field(metric): 1.0 / mean_scale(metric) for c in _CLASSES for metric in c.metrics}


def _compare(where: str, mine: dict[str, object], his: dict[str, object]) -> Iterator[str]:
    for name, digit in _LAST_DIGIT.items():
        first, second = mine.get(name), his.get(name)
        if isinstance(first, float) and isinstance(second, float) and abs(first - second) > 1.001 * digit:
            yield f"{where} {name}: {first} and {second}"
