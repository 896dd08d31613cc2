"""What the rows of a node cost a month in Log Analytics: sizes measured, prices listed. `python -m bench.row_cost`.

Azure bills a record by "a string representation of the columns that are stored" and does not say whether the names
of columns count. So there are two figures: the text of the values alone, and the whole JSON of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import orjson

from bench.core import CoreJob
from bench.workload import fleet_workload

NODES, MINUTES = 100, 10.0
MINUTES_A_MONTH = 30 * 24 * 60
GB = 1e9
"""Usage is reported in units of 10^9 bytes."""
DOLLARS_PER_GB = 2.30
"""List price of the Analytics tier; docs/costs.md says where it is from."""


def values_bytes(row: bytes) -> int:
    """Bytes of the values of a row as text, without the columns' names; dynamic columns are text with their names."""
    return sum(_text_bytes(value) for value in orjson.loads(row).values())


def _text_bytes(value: object) -> int:
    return len(value.encode()) if isinstance(value, str) else len(orjson.dumps(value))


def report(rows: Sequence[bytes]) -> list[str]:
    """Lines of `name value unit`."""
    lines = [f"row.measured {len(rows)} rows"]
    for name, size in (("values", fmean(map(values_bytes, rows))), ("json", fmean(map(len, rows)))):
        gigabytes = size * MINUTES_A_MONTH / GB
        lines += [
            f"row.{name}_bytes {size:.0f} B",
            f"row.{name}_gb_per_node_month {gigabytes:.4f} GB",
            f"row.{name}_dollars_per_node_month {gigabytes * DOLLARS_PER_GB:.3f} USD",
        ]
    return lines


def main() -> None:
    """Makes the rows of a simulated fleet and prints what they would cost."""
    job = CoreJob()
    job.run(fleet_workload(NODES, MINUTES).events, keep_rows=True)
    print("\n".join(report(job.rows)))


if __name__ == "__main__":
    main()
