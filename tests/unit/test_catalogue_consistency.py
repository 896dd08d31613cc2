"""The catalogue is consistent with itself, and what is generated from it is fresh."""

from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.catalogue import DEVICE_CLASSES, NODE_KEYS, NODE_METRICS, Kind, round_for_wire
from telemetry.envelope import IDENTITIES
from telemetry.errors import EnvelopeRejected, RejectReason, SettingsError, StateConflict
from telemetry.layout import LayoutKey, Shape, layout_for
from telemetry.tables import FEATURES, NUMBER_COLUMNS, TABLES, data_collection_rule, generated_files

ROOT = Path(__file__).parents[2]
ALL_METRICS = [*NODE_METRICS, *chain.from_iterable(c.metrics for c in DEVICE_CLASSES)]
RESERVED = {"_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"}
TYPES = {"string", "int", "long", "real", "boolean", "dynamic", "datetime"}


@pytest.mark.parametrize("path", generated_files())
def test_generated_file_is_fresh(path):
    assert (ROOT / path).read_text() == generated_files()[path], "stale: run `python -m telemetry.tables`"


def test_keys_are_given_once():
    assert len(set(NODE_KEYS)) == len(NODE_KEYS) == len(NODE_METRICS)
    for device_class in DEVICE_CLASSES:
        keys = [metric.key for metric in device_class.metrics]
        assert len(set(keys)) == len(keys)


def test_no_node_metric_is_named_like_a_device_class():
    """A key's first part tells a device's metric from a node's."""
    assert not {key.partition(".")[0] for key in NODE_KEYS} & set(IDENTITIES)


def test_a_name_with_its_attributes_is_given_once():
    names = [(metric.name, *sorted(metric.attributes.items())) for metric in ALL_METRICS]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", TABLES)
def test_table_is_one_that_log_analytics_takes(table):
    columns = TABLES[table]
    names = [column.name for column in columns]

    assert table.endswith("_CL")
    assert len(set(names)) == len(names) <= 500
    assert all(0 < len(name) <= 45 and name.isalnum() for name in names)
    assert not set(names) & RESERVED
    assert {column.type for column in columns} <= TYPES
    assert names[0] == "TimeGenerated"
    assert all(column.description for column in columns)


def test_every_metric_has_a_column_and_a_range():
    for metric in ALL_METRICS:
        assert metric.upper > 0
        assert metric.description
        assert metric.kind is not Kind.RATE or not metric.keeps_minimum
    assert len({column.name for column in NUMBER_COLUMNS}) == len(NUMBER_COLUMNS)
    assert len(set(FEATURES)) == len(FEATURES)


def test_fields_of_a_device_are_told_apart():
    for device_class in DEVICE_CLASSES:
        fields = [device_class.field(metric) for metric in device_class.metrics]
        assert len(set(fields)) == len(fields)
        assert "Device" not in fields
        assert all(fields)


def test_data_collection_rule_has_a_stream_and_a_flow_per_table():
    properties = data_collection_rule()["properties"]

    assert set(properties["streamDeclarations"]) == {f"Custom-{table}" for table in TABLES}
    assert [flow["streams"] for flow in properties["dataFlows"]] == [[f"Custom-{table}"] for table in TABLES]


@given(st.sampled_from(ALL_METRICS), st.floats(0, 1e15))
def test_rounding_for_the_wire_costs_no_more_than_its_promise(metric, value):
    rounded = round_for_wire(metric, value)

    allowed = 0.5 * 10.0 ** -(metric.digits or 0) * 1.0001
    if metric.kind is Kind.RATE:
        allowed = max(allowed, value * 0.0005)
    assert abs(rounded - value) <= allowed + value * 1e-15
    assert round_for_wire(metric, rounded) == rounded


def full_keys(*classes):
    named = [device_class for device_class in DEVICE_CLASSES if device_class.key in classes]
    return (*NODE_KEYS, *(f"{c.key}.{metric.key}" for c in named for metric in c.metrics))


def test_layout_in_catalogue_order_needs_no_gathering():
    layout = layout_for(LayoutKey(3, full_keys("disk", "network"), (("disk", 2), ("network", 1))))

    assert layout.shape == Shape((2, 0, 1, 0, 0))
    assert layout.width == layout.shape.width
    assert layout.gather is None
    assert layout.upper.tolist() == [metric.upper for metric in layout.shape.metrics()]


def test_layout_in_any_other_order_finds_every_column():
    keys = full_keys("disk", "filesystem", "network")
    counts = (("network", 2), ("disk", 3), ("filesystem", 1))
    forward, backward = layout_for(LayoutKey(3, keys, counts)), layout_for(LayoutKey(3, keys[::-1], counts))

    assert forward.gather is None
    names = [backward.describe(column) for column in range(backward.width)]
    assert [names[column] for column in backward.gather] == [forward.describe(c) for c in range(forward.width)]


def test_detail_of_an_error_is_bounded_and_conflicts_name_nodes():
    assert len(EnvelopeRejected(RejectReason.EMPTY, "x" * 1000).detail) == 512
    assert "c/n1, c/n2, c/n3" in str(StateConflict([("c", f"n{index}") for index in range(1, 6)]))
    assert str(SettingsError(["one", "two"])).count("  - ") == 2
