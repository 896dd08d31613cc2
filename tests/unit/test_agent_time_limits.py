"""Jobs that hang cost themselves only."""

import threading
import time

import pytest

from agent.time_limits import TimeLimitedRuns


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def fail():
    raise OSError("no such mount")


def test_every_job_gets_its_own_outcome_in_order():
    runs: TimeLimitedRuns[int] = TimeLimitedRuns(5, "jobs")

    outcomes = runs.run({"one": lambda: 1, "broken": fail, "two": lambda: 2})

    assert list(outcomes) == ["one", "broken", "two"]
    assert (outcomes["one"].value, outcomes["two"].value) == (1, 2)
    assert str(outcomes["broken"].error) == "no such mount"
    assert not any(outcome.overdue for outcome in outcomes.values())


def test_all_runs_without_accident_share_one_thread():
    runs: TimeLimitedRuns[int] = TimeLimitedRuns(5, "jobs")

    threads = {runs.run({"a": threading.get_ident, "b": threading.get_ident})[k].value for k in "ab" for _ in range(5)}

    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_job_that_hangs_is_overdue_and_the_others_still_run(gate):
    runs: TimeLimitedRuns[object] = TimeLimitedRuns(0.05, "jobs")

    outcomes = runs.run({"before": lambda: 1, "dead": gate.wait, "after": lambda: 2})

    assert outcomes["dead"].overdue
    assert (outcomes["before"].value, outcomes["after"].value) == (1, 2)


def test_a_hanging_job_is_not_started_again_until_it_has_come_back(gate):
    runs: TimeLimitedRuns[object] = TimeLimitedRuns(0.05, "jobs")
    started = []

    def dead():
        started.append(1)
        gate.wait()
        return "back"

    runs.run({"dead": dead})
    again = runs.run({"dead": dead, "alive": lambda: 1})
    assert again["dead"].overdue and again["alive"].value == 1 and len(started) == 1

    gate.set()
    deadline = time.monotonic() + 5
    while (outcome := runs.run({"dead": dead})["dead"]).overdue:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert outcome.value == "back"
    assert len(started) == 2


def test_several_hanging_jobs_hold_up_one_run_each_for_its_limit_only(gate):
    runs: TimeLimitedRuns[object] = TimeLimitedRuns(0.05, "hang-several")
    jobs = {"dead1": gate.wait, "alive": lambda: 1, "dead2": gate.wait}

    first = runs.run(jobs)
    before = time.monotonic()
    second = runs.run(jobs)

    assert first["alive"].value == second["alive"].value == 1
    assert second["dead1"].overdue and second["dead2"].overdue
    assert time.monotonic() - before < 5
    # One thread per hanging job and one for the rest; never more, however many runs.
    assert sum(thread.name == "hang-several" for thread in threading.enumerate()) <= 3


def test_no_jobs_need_no_thread():
    runs: TimeLimitedRuns[int] = TimeLimitedRuns(1, "never-started")

    assert runs.run({}) == {}
    assert not any(thread.name == "never-started" for thread in threading.enumerate())


def test_a_job_that_wants_to_end_the_program_fails_and_the_others_still_run():
    runs: TimeLimitedRuns[int] = TimeLimitedRuns(5, "jobs")

    def leave():
        raise SystemExit("enough")

    for _ in range(2):
        outcomes = runs.run({"leave": leave, "after": lambda: 2})

        assert outcomes["leave"].problem == "SystemExit: enough"
        assert outcomes["after"].value == 2


def test_the_problem_is_told_in_a_few_words(gate):
    runs: TimeLimitedRuns[object] = TimeLimitedRuns(0.05, "jobs")

    outcomes = runs.run({"good": lambda: 1, "broken": fail, "dead": gate.wait})

    assert [outcome.problem for outcome in outcomes.values()] == [
        None,
        "OSError: no such mount",
        "it hangs: no answer within its time limit",
    ]
