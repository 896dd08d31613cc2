"""The AMQP codec: what is encoded decodes to the same, and no bytes whatsoever do worse than DecodeError."""

import tracemalloc
import uuid

import pytest
from azure.eventhub._pyamqp import _decode as sdk_decode
from azure.eventhub._pyamqp import _encode as sdk_encode
from hypothesis import example, given
from hypothesis import strategies as st

from local.event_hubs import amqp_types as amqp
from local.event_hubs import performatives

_TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
_ASCII = st.text(st.characters(codec="ascii"), max_size=300)


def _scalars() -> st.SearchStrategy[tuple[bytes, object]]:
    """Pairs of (encoded, value) of every scalar type that has an encoder."""

    def of(values, encode):
        return values.map(lambda value: (encode(value), value))

    return st.one_of(
        st.just((amqp.NULL, None)),
        of(st.booleans(), amqp.encode_boolean),
        of(st.integers(0, 2**8 - 1), amqp.encode_ubyte),
        of(st.integers(0, 2**16 - 1), amqp.encode_ushort),
        of(st.integers(0, 2**32 - 1), amqp.encode_uint),
        of(st.integers(0, 2**64 - 1), amqp.encode_ulong),
        of(st.integers(-(2**31), 2**31 - 1), amqp.encode_int),
        of(st.integers(-(2**63), 2**63 - 1), amqp.encode_long),
        of(st.integers(-(2**63), 2**63 - 1), amqp.encode_timestamp),
        of(st.uuids(), amqp.encode_uuid),
        of(st.binary(max_size=300), amqp.encode_binary),
        of(_TEXT, amqp.encode_string),
        of(_ASCII, amqp.encode_symbol),
        # Never empty: the SDK takes the item constructor of an empty array for the value after it.
        of(st.lists(_TEXT, min_size=1, max_size=5), amqp.encode_string_array),
        of(st.lists(_ASCII, min_size=1, max_size=5), amqp.encode_symbol_array),
    )


def _compounds(items: st.SearchStrategy[tuple[bytes, object]]) -> st.SearchStrategy[tuple[bytes, object]]:
    lists = st.lists(items, max_size=6).map(
        lambda pairs: (amqp.encode_list(raw for raw, _ in pairs), [value for _, value in pairs])
    )
    maps = st.dictionaries(_TEXT, items, max_size=4).map(
        lambda entries: (
            amqp.encode_map({amqp.encode_string(key): raw for key, (raw, _) in entries.items()}),
            {key: value for key, (_, value) in entries.items()},
        )
    )
    described = items.map(lambda pair: (b"\x00\x53\x77" + pair[0], amqp.Described(0x77, pair[1])))
    return st.one_of(lists, maps, described)


_VALUES = st.recursive(_scalars(), _compounds, max_leaves=20)


@given(_VALUES, st.binary(max_size=20))
def test_every_encoded_value_decodes_to_itself_and_ends_where_it_ends(pair, rest):
    encoded, value = pair

    decoded, end = amqp.decode(encoded + rest)

    assert decoded == value
    assert end == len(encoded) == amqp.skip(encoded + rest, 0)


@given(_VALUES.filter(lambda pair: not isinstance(pair[1], amqp.Described)))
def test_the_sdk_reads_every_scalar_and_compound_without_error_to_the_last_byte(pair):
    encoded, _ = pair

    rest, _ = sdk_decode._DECODE_BY_CONSTRUCTOR[encoded[0]](memoryview(encoded)[1:])

    assert len(rest) == 0


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**31), 2**31 - 1),
            st.uuids(),
            st.binary(max_size=300),
            _TEXT,
            st.floats(allow_nan=False),
        ),
        lambda items: st.one_of(st.lists(items, min_size=1, max_size=4), st.dictionaries(_TEXT, items, max_size=4)),
        max_leaves=10,
    )
)
def test_what_the_sdk_encodes_decodes_to_what_it_was(value):
    output = bytearray()
    sdk_encode.encode_value(output, value)

    decoded, end = amqp.decode(bytes(output))

    assert decoded == value
    assert end == len(output)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("43", 0),
        ("44", 0),
        ("5601", True),
        ("5600", False),
        ("52ff", 255),
        ("53ff", 255),
        ("54ff", -1),
        ("55ff", -1),
        ("51ff", -1),
        ("61ffff", -1),
        ("723f800000", 1.0),
        ("823ff0000000000000", 1.0),
        ("7300000041", "A"),
        ("7401020304", b"\x01\x02\x03\x04"),
        ("840102030405060708", bytes(range(1, 9))),
        ("94" + "00" * 16, bytes(16)),
        ("45", []),
        ("f000000005" + "00000000" + "b1", []),
        ("c0020141", [True]),
        ("c1050243a10161", {0: "a"}),
        ("e00402500102", [1, 2]),
        ("e00201" + "41", [True]),
    ],
)
def test_every_compact_encoding_of_the_standard_is_read(encoded, value):
    raw = bytes.fromhex(encoded)

    assert amqp.decode(raw) == (value, len(raw))


@given(st.binary(max_size=200))
@example(b"\x00" * 100_000)
@example(b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x45")
@example(b"\xd0\x00\x00\x00\x04\xff\xff\xff\xff")
@example(b"\xc1\x05\x02\xc0\x02\x01\x41\x41")
@example(b"\x73\x00\x11\x00\x00")
@example(b"\xa1\x01\xff")
@example(b"\xc0\x00\x00")
def test_random_bytes_decode_or_raise_decode_error(raw):
    for read in (amqp.decode, amqp.skip):
        try:
            read(raw, 0)
        except amqp.DecodeError:
            continue


@given(st.integers(0x10, 0x18), st.binary(max_size=200))
def test_random_performatives_are_read_or_raise_decode_error(descriptor, raw):
    frame = bytes((0x00, 0x53, descriptor)) + raw
    parsers = (
        performatives.parse_open,
        performatives.parse_begin,
        performatives.parse_attach,
        performatives.parse_flow,
        performatives.parse_transfer,
        performatives.parse_detach,
        performatives.parse_sasl_init,
    )
    for parse in parsers:
        try:
            parse(frame)
        except amqp.DecodeError:
            continue


@given(st.lists(_VALUES, max_size=14))
def test_performatives_of_random_well_formed_fields_are_read_or_raise_decode_error(fields):
    frame = b"\x00\x53\x12" + amqp.encode_list(raw for raw, _ in fields)

    for parse in (performatives.parse_attach, performatives.parse_flow, performatives.parse_transfer):
        try:
            parse(frame)
        except amqp.DecodeError:
            continue


@given(_VALUES, st.data())
def test_a_value_cut_short_is_an_error_and_never_another_value(pair, data):
    encoded, _ = pair
    cut = data.draw(st.integers(0, len(encoded) - 1))

    with pytest.raises(amqp.DecodeError):
        amqp.decode(encoded[:cut])


def test_a_count_that_lies_does_not_cost_memory():
    four_billion_empty_lists = b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x45"
    tracemalloc.start()

    with pytest.raises(amqp.DecodeError):
        amqp.decode(four_billion_empty_lists)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_nesting_is_limited_before_python_runs_out_of_stack():
    nested = amqp.encode_uuid(uuid.UUID(int=0))
    for _ in range(amqp.MAX_DEPTH):
        nested = amqp.encode_list([nested])
    amqp.decode(nested)

    with pytest.raises(amqp.DecodeError, match="nested deeper"):
        amqp.decode(amqp.encode_list([nested]))


def test_an_attach_tells_address_selector_epoch_and_what_to_echo():
    selector = amqp.encode_binary(b"amqp.annotation.x-opt-offset > '-1'")
    filters = amqp.encode_map(
        {
            amqp.encode_symbol("apache.org:selector-filter:string"): b"\x00"
            + amqp.encode_symbol("apache.org:selector-filter:string")
            + selector
        }
    )
    source = b"\x00\x53\x28" + amqp.encode_list([amqp.encode_string("hub/x"), *[amqp.NULL] * 6, filters])
    target = b"\x00\x53\x29" + amqp.encode_list([amqp.encode_string("t")])
    fields = [
        amqp.encode_string("link"),
        amqp.encode_uint(3),
        amqp.encode_boolean(True),
        amqp.NULL,
        amqp.NULL,
        source,
        target,
        *[amqp.NULL] * 5,
        amqp.encode_symbol_array(["com.microsoft:enable-receiver-runtime-metric"]),
        amqp.encode_map({amqp.encode_symbol("com.microsoft:epoch"): amqp.encode_long(7)}),
    ]

    attach = performatives.parse_attach(b"\x00\x53\x12" + amqp.encode_list(fields))

    assert attach == performatives.Attach(
        name="link",
        handle=3,
        is_receiver=True,
        source=source,
        target=target,
        address="hub/x",
        selector="amqp.annotation.x-opt-offset > '-1'",
        desired_capabilities=("com.microsoft:enable-receiver-runtime-metric",),
        epoch=7,
    )
