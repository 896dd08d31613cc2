"""Windows made fast for the evaluation are those that the function app's own folding makes."""

import json

import numpy as np
import pytest

from bench.eval.minute_features import START_MS, SimulatedNodes
from functions.core.fleet import Fleet
from functions.core.fold import decode, fold
from functions.core.ports import Event, Position, StoredState
from functions.core.rows import WindowRows
from local.fleet.fault_spec import parse_faults
from local.fleet.model import FleetModel
from local.fleet.pools import node_name
from telemetry.tables import FEATURES
from telemetry.validation import EnvelopeReader

NODES = 6
FAULTS = ["packet_loss:node=1,after=60,duration=120", "disk_filling_fast:node=2", "memory_leak:node=3"]
MINUTES = 5


def windows_of_the_core(faults):
    """(minute, node) -> features, by sending the model's envelopes through decoding and folding."""
    model = FleetModel(NODES, 9, start_ms=START_MS, faults=faults)
    events = [
        Event(json.dumps(due.envelope.document()).encode(), Position("hub", "0", number, due.at_ms))
        for number, due in enumerate(model.envelopes(START_MS + MINUTES * 60_000 + 30_000))
    ]
    fleet = Fleet()
    decoded = decode(EnvelopeReader(), events)
    fleet.admit({key: StoredState(None, None) for key in fleet.missing(decoded.keys())})
    assert not fold(fleet, decoded).letters
    found = {}
    for (_, name), node in fleet.nodes.items():
        slots = np.array(list(node.windows.values()), np.intp)
        rows = WindowRows(fleet.table(node.shape), slots).features()
        for minute, features in zip(node.windows, rows, strict=True):
            found[minute - START_MS // 60_000, name] = features
    return found


def test_windows_are_those_of_the_function_app_for_healthy_and_for_faulty_nodes():
    faults = parse_faults(FAULTS, NODES)

    expected = windows_of_the_core(faults)
    made = SimulatedNodes(NODES, 9, range(NODES), faults).minutes(1, MINUTES - 1)

    for minute in range(1, MINUTES):
        for node in range(NODES):
            np.testing.assert_allclose(
                made.features[minute - 1, node], expected[minute, node_name(node)], rtol=1e-9, err_msg=str(FEATURES)
            )


def test_a_node_that_is_off_has_the_windows_that_the_function_app_would_have_of_it():
    faults = parse_faults(["node_gone:node=all,after=100,duration=125"], NODES)

    expected = windows_of_the_core(faults)
    made = SimulatedNodes(NODES, 9, range(NODES), faults).minutes(0, MINUTES)

    silent = np.isnan(made.features).all(axis=2)
    assert silent.any(axis=0).all()
    gauge = FEATURES.index("MemoryUsed")  # a new process has no rates in its first sample
    for minute in range(MINUTES):
        for node in range(NODES):
            assert silent[minute, node] == ((minute, node_name(node)) not in expected)
            if not silent[minute, node]:
                was = expected[minute, node_name(node)][gauge]
                assert made.features[minute, node, gauge] == pytest.approx(was, rel=1e-12)


def test_windows_do_not_depend_on_the_span_that_is_asked_for_nor_on_the_nodes_beside():
    faults = parse_faults(FAULTS, NODES)

    whole = SimulatedNodes(NODES, 3, range(NODES), faults).minutes(0, 12).features
    chunks = [part.features for part in SimulatedNodes(NODES, 3, [1, 4], faults).chunks(12, size=5)]

    np.testing.assert_array_equal(np.concatenate(chunks), whole[:, [1, 4]])
