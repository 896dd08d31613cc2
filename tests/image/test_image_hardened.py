"""The image runs with nothing allowed: no capability, no privilege, no writable file but its spool, 128 MiB."""

import json
import re
from pathlib import Path

import pytest

from tests.image.image_container import PYTHON, SPOOL

MIB = 1024 * 1024
OOM_KILLED = 137
TRY_TO_WRITE = """
import json, pathlib, sys
answers = {}
for place in sys.argv[1:]:
    try:
        pathlib.Path(place, "new").write_text("x")
        answers[place] = "written"
    except OSError as error:
        answers[place] = error.strerror
print(json.dumps(answers))
"""


def test_the_process_has_no_capability_and_can_get_none(idle):
    status = idle.status()

    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_the_process_is_no_user_of_the_node(idle):
    status = idle.status()

    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert status["Groups"].split() in ([], ["10001"])


def test_the_process_has_namespaces_of_its_own(idle):
    for kind in ("pid", "net", "mnt", "ipc", "uts"):
        assert Path(f"/proc/{idle.pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink(), kind


def test_nothing_but_the_spool_can_be_written(idle):
    read_only = [
        "/",
        "/etc",
        "/tmp",
        "/usr/local/lib/python3.13",
        "/var/lib",
        "/host/root",
        "/host/root/tmp",
        "/host/sys",
    ]

    answers = json.loads(idle.python(TRY_TO_WRITE, *read_only, SPOOL))

    assert answers.pop(SPOOL) == "written"
    assert answers.pop("/tmp") == "No such file or directory"
    assert set(answers.values()) <= {"Read-only file system", "Permission denied"}
    (root,) = [
        line.split() for line in Path(f"/proc/{idle.pid}/mountinfo").read_text().splitlines() if line.split()[4] == "/"
    ]
    assert "ro" in root[5].split(",")


def test_the_nodes_settings_cannot_be_changed_through_its_proc(idle):
    program = "open('/host/proc/sys/vm/swappiness', 'w').write('1')"

    ended = idle.execute(PYTHON, "-c", program)

    assert ended.returncode != 0
    assert re.search("Read-only file system|Permission denied", ended.stderr)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", "sh", "/busybox/sh"])
def test_there_is_no_shell_to_enter(idle, shell):
    ended = idle.execute(shell, "-c", "echo entered")

    assert ended.returncode != 0
    assert "entered" not in ended.stdout


@pytest.mark.parametrize(("mebibytes", "code"), [(64, 0), (1024, OOM_KILLED)])
def test_who_takes_more_memory_than_allowed_is_killed(start, mebibytes, code):
    container = start("-c", f"held = [b'x' * 2**20 for _ in range({mebibytes})]", entrypoint=PYTHON)

    assert container.wait() == code


def test_the_memory_limit_is_the_kernels(idle):
    assert idle.memory_limit() == 128 * MIB


def test_settings_that_are_wrong_are_named_and_end_the_container_with_code_2(start):
    container = start(settings={"AGENT_SAMPLE_INTERVAL": "0", "AGENT_SPOLL_DIR": "/spool"})

    assert container.wait() == 2
    (line,) = container.log()
    assert line["event"] == "settings_unusable"
    assert (
        len([problem for problem in line["problems"] if re.search("AGENT_SAMPLE_INTERVAL|AGENT_SPOLL_DIR", problem)])
        == 2
    )


def test_the_entry_point_takes_the_agents_arguments(start):
    container = start("--version")

    assert container.wait() == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", container.output())
