"""The partition of a key is what the service's own hash gives."""

import pytest
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from hypothesis import given
from hypothesis import strategies as st

from local.event_hubs.partition_hash import key_hash, partition_for_key


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=128))
def test_the_hash_is_the_one_the_sdk_computes(key):
    assert key_hash(key.encode()) == generate_hash_code(key)


@given(st.text(max_size=128), st.integers(1, 32))
def test_every_key_has_one_partition_that_exists(key, count):
    partition = partition_for_key(key, count)

    assert 0 <= partition < count
    assert partition == partition_for_key(key, count)


@pytest.mark.parametrize("count", [1, 4, 32])
def test_keys_reach_every_partition(count):
    partitions = {partition_for_key(f"node-{number}", count) for number in range(count * 30)}

    assert partitions == set(range(count))


def test_a_negative_hash_keeps_its_magnitude_as_in_dotnet():
    key = next(f"k{n}" for n in range(1000) if key_hash(f"k{n}".encode()) % 4 == 3 and key_hash(f"k{n}".encode()) < 0)

    assert partition_for_key(key, 4) == 1
