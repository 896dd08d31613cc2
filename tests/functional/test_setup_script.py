"""tools/setup.sh on machines with good, bad and missing Pythons, each a directory of a few programs."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = """
bash cat cksum cp date dirname find grep head ln mkdir mktemp rm sed sleep sort tail
"""
INPUTS = ["requirements.txt", "requirements-dev.txt", "agent/requirements.txt", "constraints.txt", "package.json"]

VENV_MAKER = """#!/bin/sh
# Stands for CPython 3.13: passes the check, makes a venv of itself, and installs nothing.
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo "$0" > .venv/made-by ;;
  *sys.prefix*) pwd | sed 's|$|/.venv|' ;;
  -V) echo "Python 3.13.0" ;;
esac
"""
SHIM = '#!/bin/sh\necho "pyenv: python3.13: command not found" >&2\nexit 127\n'
OLD = "#!/bin/sh\n[ \"$1\" = -V ] && echo 'Python 3.11.7' && exit\nexit 1\n"
NODE = "#!/bin/sh\necho v20.20.2\n"
NPM = '#!/bin/sh\n[ "$1" = ci ] && mkdir -p node_modules && echo called >> npm.calls\n'


class Machine:
    """A checkout without packages, and a PATH of our own."""

    def __init__(self, folder):
        self.checkout = folder / "checkout"
        self.bin = folder / "bin"
        self.home = folder / "home"
        for path in (self.bin, self.home, self.checkout / "agent", self.checkout / "tools"):
            path.mkdir(parents=True)
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(shutil.which(tool))
        shutil.copy(ROOT / "tools/setup.sh", self.checkout / "tools")
        for name in INPUTS:
            (self.checkout / name).write_text("")
        (self.checkout / "package-lock.json").write_text("{}")
        self.program("node", NODE)
        self.program("npm", NPM)

    def program(self, name, text, folder=None):
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def set_up(self, **environment):
        return subprocess.run(
            ["bash", "tools/setup.sh"],
            cwd=self.checkout,
            env={"PATH": str(self.bin), "HOME": str(self.home), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def made_by(self):
        return (self.checkout / ".venv/made-by").read_text().strip()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_no_python_says_what_to_install(machine):
    finished = machine.set_up()

    assert finished.returncode == 1
    assert "found no CPython 3.13" in finished.stderr
    assert "pyenv install 3.13" in finished.stderr
    assert not (machine.checkout / ".venv").exists()


def test_a_python_on_the_path_is_taken(machine):
    python = machine.program("python3.13", VENV_MAKER)

    finished = machine.set_up()

    assert finished.returncode == 0, finished.stderr
    assert machine.made_by == str(python)
    assert "Next: make run" in finished.stdout


def test_a_shim_that_does_not_run_fools_nobody(machine):
    machine.program("python3.13", SHIM)
    machine.program("python3", OLD)
    real = machine.program("python3.13", VENV_MAKER, machine.home / ".pyenv/versions/3.13.0/bin")

    finished = machine.set_up()

    assert finished.returncode == 0, finished.stderr
    assert machine.made_by == str(real)


def test_the_newest_of_pyenvs_versions_is_taken_from_where_it_keeps_them(machine, tmp_path):
    for version in ("3.13.2", "3.13.10", "3.12.9"):
        machine.program("python3.13", VENV_MAKER, tmp_path / f"pyenv/versions/{version}/bin")

    finished = machine.set_up(PYENV_ROOT=str(tmp_path / "pyenv"))

    assert finished.returncode == 0, finished.stderr
    assert "/3.13.10/" in machine.made_by


def test_a_python_that_was_named_is_taken_or_refused_never_replaced(machine, tmp_path):
    machine.program("python3.13", VENV_MAKER)
    other = machine.program("python3.13", VENV_MAKER, tmp_path / "other")
    old = machine.program("python", OLD, tmp_path / "old")

    refused = machine.set_up(PYTHON=str(old))
    assert refused.returncode == 1
    assert f"PYTHON={old} is no usable CPython 3.13 (Python 3.11.7)" in refused.stderr

    assert machine.set_up(PYTHON=str(other)).returncode == 0
    assert machine.made_by == str(other)


def test_the_second_time_nothing_is_done_until_a_requirement_changes(machine):
    machine.program("python3.13", VENV_MAKER)
    machine.set_up()
    calls = machine.checkout / "npm.calls"

    again = machine.set_up()

    assert again.returncode == 0
    assert again.stdout == ""
    assert calls.read_text() == "called\n"

    (machine.checkout / "package-lock.json").write_text("{ }")
    machine.set_up()
    assert calls.read_text() == "called\ncalled\n"


def test_a_failing_installation_shows_why_and_is_tried_again_the_next_time(machine):
    machine.program("python3.13", VENV_MAKER)
    machine.program("npm", "#!/bin/sh\necho 'npm error code ENOTFOUND'\nexit 1\n")

    failed = machine.set_up()

    assert failed.returncode == 1
    assert "npm error code ENOTFOUND" in failed.stderr
    machine.program("npm", NPM)
    assert machine.set_up().returncode == 0


def test_an_old_node_is_replaced_by_the_one_of_pypi_or_that_is_said(machine):
    machine.program("python3.13", VENV_MAKER)
    machine.program("node", "#!/bin/sh\necho v18.1.0\n")

    finished = machine.set_up()

    assert finished.returncode == 1
    assert "No Node >= 20 with npm here; taking it from PyPI" in finished.stdout
    assert "install Node" in finished.stderr


def test_the_script_names_no_registry():
    text = (ROOT / "tools/setup.sh").read_text() + (ROOT / "Makefile").read_text()

    assert "://" not in text
