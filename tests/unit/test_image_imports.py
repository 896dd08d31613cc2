"""Which modules get into the agent's image: what the sources import, wherever they do."""

from pathlib import Path

import pytest

from tools.image.imports import (
    LEFT_OUT,
    NAMED_NOWHERE,
    imports_of,
    modules_below,
    needed_of_standard_library,
    reachable,
)


def written(directory: Path, files: dict[str, str]) -> Path:
    """Sources by path without a suffix."""
    for name, source in files.items():
        path = directory / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return directory


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a.b, c as d", {"a.b", "c"}),
        ("from a.b import c", {"a.b", "a.b.c"}),
        ("from . import c", {"here", "here.c"}),
        ("from .near import c", {"here.near", "here.near.c"}),
        ("def f():\n    if True:\n        import late", {"late"}),
        ("try:\n    import fast\nexcept ImportError:\n    import slow", {"fast", "slow"}),
        ("if __name__ == '__main__':\n    import doctest", set()),
        ("if __name__ == '__main__':\n    import doctest\nelse:\n    import other", {"other"}),
        ("'import nothing'", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, found):
    assert set(imports_of(source, "here")) == found


def test_relative_imports_climb_from_the_package():
    assert set(imports_of("from ...far import x", "top.middle.low")) == {"top.far", "top.far.x"}


def test_reachable_modules_come_with_their_packages_and_no_others(tmp_path):
    sources = {
        "agent/__init__": "",
        "agent/main": "from telemetry import errors\nimport telemetry.deep.envelope",
        "telemetry/__init__": "",
        "telemetry/errors": "",
        "telemetry/validation": "import pydantic",
        "telemetry/deep/__init__": "from telemetry.deep import other",
        "telemetry/deep/envelope": "",
        "telemetry/deep/other": "",
    }
    written(tmp_path, sources)
    modules = modules_below(tmp_path)

    assert reachable(["agent.main"], modules) == {
        "agent",
        "agent.main",
        "telemetry",
        "telemetry.errors",
        "telemetry.deep",
        "telemetry.deep.envelope",
        "telemetry.deep.other",
    }


def test_the_library_is_followed_through_itself_and_packages_are_whole(tmp_path):
    sources = {
        "json/__init__": "from json import decoder",
        "json/decoder": "import re",
        "re": "import enum",
        "enum": "",
        "csv": "import shelve",
        "shelve": "",
    }
    library = written(tmp_path / "library", sources)
    program = written(tmp_path / "program", {"main": "import json, third_party"})

    needed = needed_of_standard_library([program], library)

    assert needed - NAMED_NOWHERE == {"json", "re", "enum"}


def test_tools_for_people_and_tests_are_left_out_with_what_only_they_need(tmp_path):
    library = written(
        tmp_path / "library", {"unittest": "import difflib", "difflib": "", "pdb": "import cmd", "cmd": ""}
    )
    program = written(tmp_path / "program", {"main": "import unittest, pdb, json"})

    needed = needed_of_standard_library([program], library)

    assert needed - NAMED_NOWHERE == {"json"}
    assert needed.isdisjoint(LEFT_OUT)


def test_sources_that_are_none_do_not_stop_the_search(tmp_path):
    program = written(tmp_path / "program", {"template": "import {{ name }}", "main": "import json"})

    assert "json" in needed_of_standard_library([program], tmp_path)


def test_the_real_agent_reaches_no_validation():
    repository = Path(__file__).parents[2]
    modules = {**modules_below(repository / "agent", "agent"), **modules_below(repository / "telemetry", "telemetry")}

    reached = reachable([name for name in modules if name.startswith("agent")], modules)

    assert {"telemetry", "telemetry.envelope", "telemetry.catalogue", "telemetry.errors"} <= reached
    assert reached.isdisjoint({"telemetry.validation", "telemetry.rules", "telemetry.careful", "telemetry.tables"})
