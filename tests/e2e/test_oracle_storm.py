"""A small storm over the real processes: what CI can afford of `make oracle`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_three_kills_and_a_hail_of_faults_lose_nothing_and_count_nothing_twice(tmp_path):
    command = [sys.executable, "-m", "bench.oracle", "--seed", "5", "--kills", "3", "--nodes", "6"]

    ended = subprocess.run(
        [*command, "--data", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    lines = dict(line.split(" ", 1) for line in ended.stdout.splitlines())
    assert [lines[f"oracle.{law}"] for law in ("lost", "double_counted", "corrupt", "unbalanced")] == ["0"] * 4
    assert lines["oracle.kills"] == "3"
    assert int(lines["oracle.acked"]) > 100
    assert int(lines["oracle.envelopes_duplicated"]) >= 0.01 * int(lines["oracle.acked"])
