"""What `bench.detection_cost` compares the chain with: the product's function app, but that it judges no window."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP = ROOT / "bench/undetected"

LOOK = f"""
import runpy
from functions.core import ingest
product = runpy.run_path("function_app.py")["app"]
ingest.close = lambda fleet, nodes, watch, **rest: (fleet, nodes, watch, rest)
assert ingest.close("fleet", "nodes", "watch", model="m") == ("fleet", "nodes", "watch", dict(model="m"))
other = runpy.run_path({str(APP / "function_app.py")!r})["app"]
assert ingest.close("fleet", "nodes", "watch", model="m") == ("fleet", "nodes", None, dict(model="m"))
names = [{{function.get_function_name() for function in app.get_functions()}} for app in (product, other)]
assert names[0] == names[1] and "ingest" in names[0], names
"""


def test_the_app_without_detection_is_the_products_own_but_for_the_watch():
    found = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert found.returncode == 0, found.stderr
    assert (APP / "host.json").read_bytes() == (ROOT / "host.json").read_bytes()
