"""Starting the function app: importing it reaches out to nothing, and every function is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Runs in a process of its own, because here much of it is imported already.
IMPORT_WITHOUT = """
import json, os, socket, sys, threading

def refuse(*_, **__):
    raise AssertionError("importing function_app reached out")

# Libraries may look at the machine (urllib3 binds a socket to learn of IPv6); nobody may connect or resolve a name.
for module, name in ((socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo")):
    setattr(module, name, refuse)
for name in [name for name in os.environ if name.startswith(("STATE_", "LOGS_", "HTTP_API", "EVENTHUB", "AZURE_"))]:
    del os.environ[name]
before = threading.active_count()
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "socket.connect" else None)

import function_app

assert not opened, opened
assert "sklearn" not in sys.modules  # seconds and 100 MiB that only a training may take
assert threading.active_count() == before, threading.enumerate()
from functions.bindings.services import _services

assert _services.cache_info().currsize == 0
found = {}
for function in function_app.app.get_functions():
    retry = function.get_settings_dict("retry_policy")
    found[function.get_function_name()] = {"bindings": function.get_raw_bindings(), "retry": retry}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def functions():
    finished = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def trigger(function):
    (found,) = [binding for binding in map(json.loads, function["bindings"]) if binding["type"].endswith("Trigger")]
    return found


def test_importing_the_app_reaches_out_to_nothing_and_needs_no_settings(functions):
    timers = {"sweep", "forecast", "train", "drift"}
    http = {"nodes", "node", "capacity", "dead_letters", "dead_letter", "health", "openapi"}
    assert set(functions) == {"ingest"} | timers | http


def test_batches_are_bytes_of_many_events_and_repeated_for_ever(functions):
    ingest = functions["ingest"]

    assert trigger(ingest)["cardinality"].lower() == "many"
    assert trigger(ingest)["dataType"].lower() == "binary"
    assert ingest["retry"]["max_retry_count"] == "-1"
    assert ingest["retry"]["strategy"] == "exponential_backoff"


def test_keys_are_checked_by_the_app_and_not_by_the_host(functions):
    http = [trigger(f) for f in functions.values() if trigger(f)["type"] == "httpTrigger"]

    assert len(http) == 7
    assert {found["authLevel"].lower() for found in http} == {"anonymous"}
    assert {tuple(method.lower() for method in found["methods"]) for found in http} == {("get",)}
