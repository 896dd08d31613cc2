"""Every reason for which an envelope is refused, with a detail that names the place and the value."""

import pytest

from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.rules import MAX_AGE_MS, MAX_AHEAD_MS, MAX_DEVICES, MAX_KEYS, MAX_SAMPLES, MAX_SPAN_MS
from telemetry.validation import validate
from tests.builders import START, document, packed, samples, text

RECEIVED = START + 30_000
VALUES = document()["values"]


def rejection(raw):
    with pytest.raises(EnvelopeRejected) as refused:
        validate(raw, RECEIVED)
    return refused.value


def refuse(expected, *parts, **changes):
    """The document with these changes is refused for this reason; the detail contains all parts."""
    error = rejection(text(document(**changes)))
    assert error.reason is expected, error
    for part in parts:
        assert part in error.detail


def with_value(index, value):
    """The document's values with one column exchanged."""
    return [*VALUES[:index], value, *VALUES[index + 1 :]]


def test_the_document_these_tests_start_from_is_valid():
    frame = validate(text(document()), RECEIVED)

    assert (frame.cluster, frame.node, frame.seq) == ("aks-test", "node-1", 1)
    assert frame.devices == (("sda", "sdb"), ("/",), ("eth0",), ("shop/cart-0",), ("queue.length", "queue.age"))


def test_every_reason_is_tested_in_this_directory():
    """LATE is given by the core; too_large and bad_compression also by test_envelope_encoding."""
    assert {reason.value for reason in RejectReason} == {
        "too_large", "bad_compression", "not_json", "duplicate_key", "unsupported_version", "invalid_field", "empty",
        "too_many_samples", "ragged", "not_a_number", "out_of_range", "time_not_increasing", "time_too_old",
        "time_in_future", "time_span_too_long", "late",
    }  # fmt: skip


class TestNotJson:
    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b" ",
            b"\x00",
            b"\x1f",
            b"null",
            b"1",
            b'"text"',
            b"[]",
            b"[{}]",
            b"{",
            b"{}{}",
            b"\xef\xbb\xbf{}",
            '{"version":1}'.encode("utf-16"),
            b'{"version":1,"cluster":"\xff\xfe"}',
            b'{"version":1,"cluster":"\\ud800"}',
            b"{'version':1}",
            b'{"version":1,}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
        ],
        ids=lambda raw: repr(raw[:20]),
    )
    def test_bytes_that_are_no_json_object(self, raw):
        error = rejection(raw)

        assert error.reason is RejectReason.NOT_JSON
        assert "an envelope is one JSON object" in error.detail

    def test_every_truncation_of_a_document(self):
        whole = text(document())

        for size in range(len(whole)):
            assert rejection(whole[:size]).reason is RejectReason.NOT_JSON

    @pytest.mark.parametrize(
        "literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 400, b"0x1", b"+1"]
    )
    def test_numbers_that_json_does_not_have(self, literal):
        raw = text(document()).replace(b"0.1,0.2,0.3", literal + b",0.2,0.3", 1)

        assert rejection(raw).reason is RejectReason.NOT_JSON

    def test_compressed_rubbish(self):
        assert rejection(packed(b"rubbish")).reason is RejectReason.NOT_JSON


class TestDuplicateKey:
    @pytest.mark.parametrize(
        ("unique", "doubled", "key"),
        [
            (b'"node":"node-1"', b'"node":"node-1","node":"node-2"', "'node'"),
            (b'"seq":1', b'"seq":1,"seq":1', "'seq'"),
            (b'"pool":"pool1"', b'"pool":"pool1","pool":"pool1"', "'pool'"),
            (b'"filesystem":["/"]', b'"filesystem":["/"],"filesystem":["/"]', "'filesystem'"),
            (b'"version":1', b'"version":1,"\\u0076ersion":1', "'version'"),
        ],
    )
    def test_key_given_twice_at_any_level(self, unique, doubled, key):
        raw = text(document()).replace(unique, doubled, 1)

        error = rejection(raw)

        assert error.reason is RejectReason.DUPLICATE_KEY
        assert key in error.detail


class TestUnsupportedVersion:
    @pytest.mark.parametrize("version", [0, 2, -1, 1.0, True, "1", None, [1], {}, ..., 2**70])
    def test_anything_but_the_integer_1(self, version):
        raw = text(document(version=1e30 if version == 2**70 else version))

        error = rejection(raw)

        assert error.reason is RejectReason.UNSUPPORTED_VERSION
        assert "this build reads version 1" in error.detail

    def test_a_newer_version_is_named(self):
        refuse(RejectReason.UNSUPPORTED_VERSION, "version is 7", version=7)


HOSTILE_NAMES = {
    "empty": "",
    "path": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "dots": "..",
    "html": "<script>alert(1)</script>",
    "kql": "x' | union *",
    "newline at the end": "node-1\n",
    "nul": "node\x00",
    "escape": "\x1b[2J",
    "row key slash": "a/b",
    "row key backslash": "a\\b",
    "row key hash": "a#b",
    "row key question mark": "a?b",
    "percent": "a%2fb",
    "space": "a b",
    "leading dash": "-a",
    "trailing dot": "a.",
    "129 characters": "a" * 129,
    "right to left": "node\u202etxt.exe",
    "zero width": "no\u200bde",
    "homoglyph": "n\u043ede",
    "full width": "\uff4eode",
    "combining": "node\u0301",
    "emoji": "node\U0001f600",
    "number": 5,
    "list": ["a"],
    "null": None,
    "absent": ...,
}


class TestInvalidField:
    @pytest.mark.parametrize("field", ["cluster", "node"])
    @pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
    def test_hostile_name(self, field, name):
        error = rejection(text(document(**{field: name})))

        assert error.reason is RejectReason.INVALID_FIELD
        assert error.detail.startswith(f"{field}: ")
        assert error.detail.isprintable()

    @pytest.mark.parametrize("name", ["a", "A1", "aks-pool1-123-vmss00000a", "a.b_c-d", "x" * 128])
    def test_ordinary_names_are_accepted(self, name):
        frame = validate(text(document(cluster=name, node=name)), RECEIVED)

        assert (frame.cluster, frame.node) == (name, name)

    @pytest.mark.parametrize("instance", ["", "0123456", "0" * 33, "ABCDEF012345", "g" * 12, 123456789012, None, ...])
    def test_instance_that_is_no_hexadecimal(self, instance):
        refuse(RejectReason.INVALID_FIELD, "instance: ", instance=instance)

    @pytest.mark.parametrize("seq", [0, -1, 2**53 + 1, 1.0, 1.5, 1e30, True, "1", None, ...])
    def test_sequence_number_that_is_none(self, seq):
        refuse(RejectReason.INVALID_FIELD, "seq: ", seq=seq)

    @pytest.mark.parametrize("time", [None, ..., {}, "now", START, [1.5], [True], ["1"], [None], [[START]], [1e30]])
    def test_time_that_is_no_list_of_integers(self, time):
        refuse(RejectReason.INVALID_FIELD, "time", time=time)

    @pytest.mark.parametrize(
        "resource",
        [
            None,
            [],
            "pool1",
            {"Pool": "upper case"},
            {"": 1},
            {"a" * 33: 1},
            {"pool": "x" * 129},
            {"pool": "bell\x07"},
            {"pool": "nul\x00"},
            {"pool": None},
            {"pool": ["a"]},
            {"pool": {"a": 1}},
            {"spot": True},
            {f"key_{index}": 1 for index in range(17)},
        ],
        ids=str,
    )
    def test_resource_that_is_not_a_few_constants(self, resource):
        refuse(RejectReason.INVALID_FIELD, "resource", resource=resource)

    @pytest.mark.parametrize("number", [2**53, 2**63, 1.5, -1, 0])
    def test_resource_takes_any_number(self, number):
        assert validate(text(document(resource={"memory": number})), RECEIVED).resource == {"memory": number}

    def test_unknown_member_is_named_with_its_value(self):
        refuse(RejectReason.INVALID_FIELD, "colour: ", "'red'", colour="red")

    def test_control_characters_of_a_key_do_not_reach_the_detail(self):
        error = rejection(text(document(**{"\x1b[2J\n<b>": 1})))

        assert error.reason is RejectReason.INVALID_FIELD
        assert error.detail.isprintable()

    @pytest.mark.parametrize(
        "devices", [None, ..., [], "sda", {"disk": None}, {"disk": "sda"}, {"disk": {}}, {"disk": [1]}]
    )
    def test_devices_that_are_no_lists_of_names_per_class(self, devices):
        refuse(RejectReason.INVALID_FIELD, "devices", devices=devices)

    @pytest.mark.parametrize("name", ["", "\x00", "a\nb", "\u202e", "\u200b", "x" * 256])
    def test_device_name_that_cannot_be_shown(self, name):
        devices = {**document()["devices"], "filesystem": [name]}

        error = rejection(text(document(devices=devices)))

        assert error.reason is RejectReason.INVALID_FIELD
        assert error.detail.startswith("devices.filesystem: ")
        assert error.detail.isprintable()

    def test_device_given_twice(self):
        refuse(RejectReason.INVALID_FIELD, "devices.disk", devices={**document()["devices"], "disk": ["sda", "sda"]})

    def test_more_devices_than_a_node_has(self):
        disks = [f"sd{index}" for index in range(MAX_DEVICES + 1)]

        refuse(RejectReason.INVALID_FIELD, "devices.disk", str(MAX_DEVICES), devices={"disk": disks})

    @pytest.mark.parametrize("keys", [None, ..., {}, "cpu", [1], [""], ["cpu", "cpu"], ["x" * 65], [None], [["cpu"]]])
    def test_keys_that_are_no_list_of_different_metrics(self, keys):
        refuse(RejectReason.INVALID_FIELD, "keys: ", keys=keys)

    def test_more_keys_than_there_are_metrics(self):
        keys = [f"k{index}" for index in range(MAX_KEYS + 1)]

        refuse(RejectReason.INVALID_FIELD, "keys: ", keys=keys, values=[[1, 2, 3]] * len(keys))

    @pytest.mark.parametrize("values", [None, ..., {}, "0.5", 0.5])
    def test_values_that_are_no_list(self, values):
        refuse(RejectReason.INVALID_FIELD, "values: ", values=values)

    @pytest.mark.parametrize("column", [None, 0.5, "0.5", {}, True])
    def test_column_that_is_no_list(self, column):
        refuse(RejectReason.INVALID_FIELD, "mem: ", values=with_value(1, column))
        refuse(RejectReason.INVALID_FIELD, "disk.read: ", values=with_value(2, column))
        refuse(RejectReason.INVALID_FIELD, "disk.read.1: ", values=with_value(2, [[1, 2, 3], column]))


class TestEmptyAndTooMany:
    def test_no_samples(self):
        refuse(RejectReason.EMPTY, "time is []", time=[], keys=[], values=[])

    def test_one_sample_more_than_allowed(self):
        number = MAX_SAMPLES + 1
        changes = {"time": samples(number, RECEIVED, 1), "devices": {}, "keys": ["cpu"], "values": [[0.5] * number]}

        refuse(RejectReason.TOO_MANY_SAMPLES, str(number), str(MAX_SAMPLES), **changes)

    def test_as_many_samples_as_allowed(self):
        changes = {
            "time": samples(MAX_SAMPLES, START, 1),
            "devices": {},
            "keys": ["cpu"],
            "values": [[0.5] * MAX_SAMPLES],
        }

        assert len(validate(text(document(**changes)), RECEIVED).time) == MAX_SAMPLES


class TestRagged:
    @pytest.mark.parametrize(
        ("values", "place", "found"),
        [
            (VALUES[:-1], "values", "8 entries for 9 keys"),
            ([*VALUES, [1, 2, 3]], "values", "10 entries for 9 keys"),
            (with_value(0, [0.1, 0.2]), "cpu", "2 entries for 3 samples"),
            (with_value(0, []), "cpu", "0 entries for 3 samples"),
            ([[0.1, 0.2], [0.4, 0.5, 0.6, 0.3], *VALUES[2:]], "cpu", "2 entries for 3 samples"),
            (with_value(2, [[1, 2, 3]]), "disk.read", "1 entries for 2 devices"),
            (with_value(2, [[1, 2], [3, 4, 5, 6]]), "disk.read.0", "2 entries for 3 samples"),
            (with_value(2, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]), "disk.read", "3 entries for 2 devices"),
            ([*VALUES[:2], [[1, 2, 3]], [[0.1, 0.2, 0.3]] * 3, *VALUES[4:]], "disk.read", "1 entries for 2 devices"),
        ],
    )
    def test_column_of_the_wrong_length(self, values, place, found):
        refuse(RejectReason.RAGGED, f"{place} has {found}", values=values)


class TestNotANumber:
    @pytest.mark.parametrize(("value", "shown"), [(True, "True"), ("0.5", "'0.5'"), ([], "a list"), ({}, "a dict")])
    def test_value_of_another_type(self, value, shown):
        refuse(RejectReason.NOT_A_NUMBER, f"cpu.1 is {shown}", values=with_value(0, [0.1, value, 0.3]))
        refuse(RejectReason.NOT_A_NUMBER, f"disk.read.1.2 is {shown}", values=with_value(2, [[1, 2, 3], [4, 5, value]]))


class TestOutOfRange:
    @pytest.mark.parametrize("value", [-0.0001, 1.0001, 1e300, -1e300, 10**25])
    def test_ratio_outside_0_to_1(self, value):
        raw = text(document(values=with_value(0, [0.1, 0.2, "?"]))).replace(b'"?"', str(value).encode())

        error = rejection(raw)

        assert error.reason is RejectReason.OUT_OF_RANGE
        assert error.detail.startswith("cpu sample 2 is ")
        assert "it must be 0 to 1" in error.detail

    def test_device_is_named_by_its_number(self):
        refuse(
            RejectReason.OUT_OF_RANGE, "disk.busy of device 1 sample 0 is 2", values=with_value(3, [[0] * 3, [2] * 3])
        )

    @pytest.mark.parametrize("value", [0, -0.0, 1, 1.0, None, 1e-320])
    def test_edges_and_null_are_in_range(self, value):
        validate(text(document(values=with_value(0, [value] * 3))), RECEIVED)


class TestTime:
    @pytest.mark.parametrize("second", [START, START - 1])
    def test_time_that_stands_still_or_goes_back(self, second):
        refuse(RejectReason.TIME_NOT_INCREASING, f"time.1 is {second}", str(START), time=[START, second, START + 10])

    @pytest.mark.parametrize("first", [0, -1, 1000, RECEIVED - MAX_AGE_MS - 1])
    def test_time_of_1970_or_of_last_week(self, first):
        refuse(RejectReason.TIME_TOO_OLD, f"time.0 is {first}", "days before", time=[first, START, START + 1])

    @pytest.mark.parametrize("last", [RECEIVED + MAX_AHEAD_MS + 1, RECEIVED + 365 * 86_400_000, 2**62])
    def test_time_of_next_year(self, last):
        refuse(
            RejectReason.TIME_IN_FUTURE, f"time.2 is {last}", "check the node's clock", time=[START, START + 1, last]
        )

    @pytest.mark.parametrize("first", [RECEIVED - MAX_AGE_MS, RECEIVED + MAX_AHEAD_MS - MAX_SPAN_MS])
    def test_times_at_the_edges_are_believed(self, first):
        edges = [first, first + 1, first + MAX_SPAN_MS]

        assert validate(text(document(time=edges)), RECEIVED).time == edges

    def test_samples_of_more_than_two_hours(self):
        times = [RECEIVED - MAX_SPAN_MS - 1, RECEIVED - 1, RECEIVED]

        refuse(RejectReason.TIME_SPAN_TOO_LONG, "at most 2 h", time=times)


class TestForwardCompatibility:
    def test_unknown_metric_is_accepted_and_ignored(self):
        frame = validate(
            text(document(keys=[*document()["keys"], "new.temperature"], values=[*VALUES, [-40, 1e30, 0]])), RECEIVED
        )

        assert frame.layout.unknown == ("new.temperature",)

    def test_unknown_device_class_is_accepted_and_ignored(self):
        frame = validate(
            text(
                document(
                    devices={**document()["devices"], "gpu": ["0", "1"]},
                    keys=[*document()["keys"], "gpu.busy"],
                    values=[*VALUES, [[-1, 2, 3], [4, 5, 6]]],
                )
            ),
            RECEIVED,
        )

        assert frame.layout.unknown == ("gpu.busy",)
        assert frame.devices == validate(text(document()), RECEIVED).devices

    def test_metric_of_a_class_that_is_not_named_is_not_taken_for_another(self):
        frame = validate(
            text(document(devices={"network": ["eth0"]}, keys=["disk.read"], values=[[1, 2, 3]])), RECEIVED
        )

        assert frame.layout.unknown == ("disk.read",)

    def test_class_named_like_a_node_metric_does_not_move_columns(self):
        frame = validate(
            text(document(devices={"cpu": ["0", "1"]}, keys=["cpu.user"], values=[[[0.1] * 3, [0.9] * 3]])), RECEIVED
        )

        assert frame.layout.unknown == ("cpu.user",)


def test_detail_is_bounded_however_long_the_value():
    error = rejection(text(document(node="x" * 100_000, **{"y" * 100_000: 1})))

    assert len(error.detail) <= 512
