"""The shortcut for event times: as the library itself reads them, only sooner."""

import subprocess
import sys

import pytest
from azure.functions import meta

from functions.bindings.timestamps import read_iso_times_first

ORIGINAL = meta._BaseConverter.__dict__["_parse_datetime"]

HOST_FORMATS = [
    "2026-11-23T01:53:01Z",
    "2026-11-23T01:53:01.1Z",
    "2026-11-23T01:53:01.123Z",
    "2026-11-23T01:53:01.123456Z",
    "2026-11-23T01:53:01.1234567Z",
    "2026-11-23T01:53:01",
    "2026-11-23T01:53:01.123",
    "2026-11-23T01:53:01.1234567",
    "2026-11-23T01:53:01+00:00",
    "2026-11-23T01:53:01.123+00:00",
    "2026-11-23T01:53:01.1234567+00:00",
]


@pytest.fixture
def shortcut(monkeypatch):
    """The shortcut on the library's own method, taken away afterwards."""
    monkeypatch.setattr(meta._BaseConverter, "_parse_datetime", ORIGINAL)
    assert read_iso_times_first()
    return meta._BaseConverter._parse_datetime


def library(text):
    return ORIGINAL.__get__(None, meta._BaseConverter)(text)


def test_library_still_has_the_method_the_shortcut_replaces():
    # In a process of its own: here it may have been replaced by an import of function_app.
    code = (
        "from azure.functions import meta\n"
        "from functions.bindings.timestamps import read_iso_times_first\n"
        "before = meta._BaseConverter._parse_datetime\n"
        "assert read_iso_times_first()\n"
        "assert meta._BaseConverter._parse_datetime is not before\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("text", HOST_FORMATS)
def test_time_is_the_one_the_library_reads(shortcut, text):
    theirs, ours = library(text), shortcut(text)

    assert (ours, ours.utcoffset()) == (theirs, theirs.utcoffset())


@pytest.mark.parametrize(
    "text", ["11/23/2026 01:53:01 AM", "Mon, 23 Nov 2026 01:53:01 GMT", "nonsense", "2026-13-45T99:00:00Z"]
)
def test_what_is_not_iso_8601_is_left_to_the_library(shortcut, text):
    def outcome(read):
        try:
            return read(text)
        except ValueError as error:
            return str(error)

    assert outcome(shortcut) == outcome(library)


@pytest.mark.parametrize("text", [None, ""])
def test_no_time_is_none(shortcut, text):
    assert shortcut(text) is None


def test_library_without_the_method_is_left_alone(monkeypatch):
    monkeypatch.delattr(meta._BaseConverter, "_parse_datetime")

    assert not read_iso_times_first()
    assert not hasattr(meta._BaseConverter, "_parse_datetime")
