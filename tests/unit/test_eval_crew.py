"""Tasks of an evaluation: the same in one process and in several, told how far they are, ended by an error."""

import multiprocessing
import time
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from bench.eval.crew import Crew, Task
from bench.eval.progress import Progress
from bench.eval.shipped import judge

POINTS = 300


class Heard(Progress):
    """Remembers what it is told."""

    def __init__(self):
        super().__init__()
        self.parts = []

    def part(self, name, done, total):
        self.parts.append((name, done / total))


def tasks(count):
    random = np.random.default_rng(1)
    time_of = np.arange(POINTS) * 60.0
    return [Task(judge, ([time_of], [random.normal(10, 1, POINTS)]), weight) for weight in range(1, count + 1)]


def run(jobs, work, progress=None):
    with Crew(jobs, progress or Heard()) as crew:
        part, other = crew.start("one", work), crew.start("other", work[:1])
        return crew.results(part), crew.results(other)


def test_several_processes_give_what_one_gives_in_the_order_of_the_tasks():
    work = tasks(3)
    heard = Heard()

    alone, shared = run(1, work), run(2, work, heard)

    for mine, other in zip(alone[0] + alone[1], shared[0] + shared[1], strict=True):
        for one, same in zip(mine[0], other[0], strict=True):
            np.testing.assert_array_equal(one, same)
    assert heard.parts[-1] == ("other", 1.0)
    assert ("one", 1.0) in heard.parts
    shares = [share for name, share in heard.parts if name == "one"]
    assert shares == sorted(shares)
    assert multiprocessing.active_children() == []


def test_alone_parts_grow_by_the_weight_of_their_tasks():
    heard = Heard()

    run(1, tasks(3), heard)

    shares = [share for name, share in heard.parts if name == "one"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {1 / 6, 3 / 6, 1.0} <= set(shares)  # at the end of each task


def test_an_error_of_a_task_is_raised_and_ends_those_that_go_on():
    wrong = Task(time.sleep, ())  # it is given how to tell, which is no time to sleep
    endless = Task(judge, ([np.arange(200_000) * 60.0], [np.zeros(200_000)]))

    begin = time.monotonic()
    with pytest.raises(TypeError):
        run(2, [endless, wrong])

    assert time.monotonic() - begin < 30
    assert multiprocessing.active_children() == []


def test_without_a_terminal_progress_is_lines_and_not_too_many(capsys):
    with Progress(every_seconds=0.0) as progress:
        progress.step("files are odd")
        progress.part("series", 1, 4)
    with Progress(every_seconds=1e9) as progress:
        progress.step("first")
        progress.part("series", 2, 4)

    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split("] ")[1] for line in told.err.splitlines()] == ["files are odd", "series: 25 %", "first"]


def test_in_a_terminal_progress_is_a_bar_for_each_part():
    screen = StringIO()

    with Progress(console=Console(file=screen, force_terminal=True, width=100)) as progress:
        progress.part("series", 1, 4)
        progress.part("fleet", 3, 4)
        progress.step("files [odd]")

    assert "series" in screen.getvalue()
    assert "75 %" in screen.getvalue()
    assert "files [odd]" in screen.getvalue()
