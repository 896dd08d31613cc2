"""The node's constants: the node's and not the container's, and never what receivers refuse."""

import os
from collections import namedtuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import resource
from agent.resource import node_resource
from telemetry.envelope import Envelope, encode
from telemetry.validation import validate
from tests.node_tree import NodeTree, aks_node, host_of

START = 1_800_000_000_000
Uname = namedtuple("Uname", "sysname nodename release machine")


@pytest.fixture(autouse=True)
def psutil_looks_elsewhere_again(monkeypatch):
    monkeypatch.setattr(psutil, "PROCFS_PATH", psutil.PROCFS_PATH)  # the node's constants set it


def accepted(constants) -> bool:
    envelope = Envelope("c", "n", "0123456789ab", seq=1, time=[START], metrics={"cpu": [0.5]}, resource=constants)
    return validate(encode(envelope), START).resource == constants


def test_a_node_tells_its_own_constants():
    constants = node_resource(host_of(), "node-1", "pool1")

    assert accepted(constants)
    assert (constants["hostname"], constants["pool"]) == (os.uname().nodename, "pool1")
    assert constants["memory"] > 2**20 and constants["boot_time"] > 10**9
    assert constants["cpus"] == os.cpu_count()
    assert "pool" not in node_resource(host_of(), "node-1")


def test_a_container_tells_the_nodes_constants_and_not_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(resource.os, "cpu_count", lambda: 1)
    tree = aks_node(tmp_path, pods=1, processes=1)

    constants = node_resource(tree.host(), "node-1")

    assert constants["hostname"] == "aks-pool1-12345678-vmss00000a"
    assert (constants["cpus"], constants["memory"], constants["boot_time"]) == (2, 8_000_000 * 1024, 1795394163)
    assert accepted(constants)


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"\xff\xfe"])
def test_a_container_that_cannot_read_the_nodes_host_name_takes_the_nodes_name(tmp_path, content):
    tree = NodeTree(tmp_path)
    (tree.root / "etc").mkdir()
    if content is not None:
        (tree.root / "etc/hostname").write_bytes(content)

    assert node_resource(tree.host(), "node-1")["hostname"] == "node-1"


def test_the_containers_own_host_name_file_is_not_the_nodes(tmp_path):
    assert node_resource(host_of(tmp_path), "node-1")["hostname"] == "node-1"


@pytest.mark.parametrize("content", ["", "btime soon\n", "cpu  1 2", "btime 17"])
def test_what_cannot_be_read_is_left_out(tmp_path, content):
    tree = NodeTree(tmp_path)
    tree.write("stat", content)

    constants = node_resource(tree.host(), "node-1")

    assert not {"cpus", "boot_time", "memory"} & set(constants)
    assert accepted(constants)


@pytest.mark.parametrize("content", ["", "MemTotal:", "MemTotal:  much kB\n", "MemFree:  1000000 kB\n"])
def test_memory_that_cannot_be_read_is_left_out(tmp_path, content):
    tree = NodeTree(tmp_path)
    tree.write("stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\nbtime 1795394163\n")
    tree.write("meminfo", content)

    constants = node_resource(tree.host(), "node-1")

    assert "memory" not in constants
    assert (constants["cpus"], constants["boot_time"]) == (1, 1795394163)


@given(st.text(st.characters(), max_size=300), st.text(st.characters(), min_size=1, max_size=300))
def test_receivers_accept_whatever_a_machine_calls_itself(pool, release):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource.os, "uname", lambda: Uname("Linux", f"host{release}", release, "x86_64"))
        constants = node_resource(host_of(), "node-1", pool)

    assert accepted(constants)
    assert all(len(value) <= 128 for value in constants.values() if isinstance(value, str))


def test_long_names_are_cut():
    assert node_resource(host_of(), "n", "p" * 500)["pool"] == "p" * 128


def test_control_characters_and_broken_utf8_become_question_marks():
    assert node_resource(host_of(), "n", "a\nb\x00c\udcffd\u200be")["pool"] == "a?b?c?d?e"
