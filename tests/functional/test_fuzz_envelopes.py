"""200,000 mutated envelopes, seeded: none escapes, no neighbour is poisoned, memory stays where it was."""

import gc

import psutil
import pytest

from bench import fuzz
from bench.mutations import Mutator

SHARDS = 4
MUTANTS_OF_A_SHARD = 50_000
WARM_UP = 10_000
GROWTH = 40 * 1024 * 1024
"""Caches of skeletons and names may still fill a little; a leak of 1 KB per envelope would exceed it."""


def resident():
    gc.collect()
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize("seed", range(1, SHARDS + 1))
def test_no_mutated_envelope_escapes(seed):
    run = fuzz.Fuzz(seed)
    run.run(WARM_UP)
    before = resident()

    findings = run.run(MUTANTS_OF_A_SHARD - WARM_UP)

    assert findings.examples == []
    assert findings.escaped == 0
    assert findings.mutants == findings.accepted + findings.rejected == MUTANTS_OF_A_SHARD
    assert findings.accepted > MUTANTS_OF_A_SHARD // 50, "mutants are so broken that they test little"
    assert findings.rejected > MUTANTS_OF_A_SHARD // 2, "mutants are so gentle that they test little"
    assert resident() - before < GROWTH


def test_the_same_seed_gives_the_same_mutants():
    first, second, other = Mutator(1), Mutator(1), Mutator(2)

    mutants = [first.mutant() for _ in range(200)]

    assert [second.mutant() for _ in range(200)] == mutants
    assert [other.mutant() for _ in range(200)] != mutants


def test_command_prints_its_findings(capsys):
    status = fuzz.main(["--count", "500", "--seed", "9"])

    numbers = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert status == 0
    assert numbers["fuzz.mutants"] == "500"
    assert int(numbers["fuzz.accepted"]) + int(numbers["fuzz.rejected"]) == 500
    assert numbers["fuzz.escaped"] == "0"


def test_an_envelope_that_escapes_is_counted_and_shown(capsys, monkeypatch):
    def check_ranges(layout, numbers):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(fuzz, "check_ranges", check_ranges)

    status = fuzz.main(["--count", "100", "--seed", "9"])

    output = capsys.readouterr()
    assert status == 1
    assert "fuzz.escaped 0" not in output.out
    assert "ZeroDivisionError('a bug')" in output.err
