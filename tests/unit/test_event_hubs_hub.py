"""Who may receive, who may use a hub, which faults are drawn: the broker's rules without a network."""

import base64
import hashlib
import hmac
import json
import time
from urllib.parse import quote_plus

import pytest
from azure.eventhub._pyamqp.utils import generate_sas_token
from hypothesis import given
from hypothesis import strategies as st

from local.event_hubs.errors import AmqpError
from local.event_hubs.faults import Faults
from local.event_hubs.hub import Partition, SettingsError, open_hub
from local.event_hubs.messages import StoredEvent
from local.event_hubs.partition_log import Retention
from local.event_hubs.tokens import Grants, hub_of

RETENTION = Retention(1_000_000, 1 << 30)


class Reader:
    def __init__(self, epoch=None):
        self.epoch = epoch
        self.stolen = None

    def wake(self):
        pass

    def steal(self, error):
        self.stolen = error.condition


@pytest.fixture
def partition():
    return Partition("0", log=None)


@pytest.fixture
def hub(tmp_path):
    hub = open_hub(tmp_path, "telemetry", 4, ["Scorer"], RETENTION)
    yield hub
    hub.close()


# ------------------------------------------------------------------------------------------------- epochs


@pytest.mark.parametrize(("first", "second"), [(None, 0), (1, 1), (1, 2), (None, 5)])
def test_an_equal_or_higher_epoch_takes_the_partition_over(partition, first, second):
    older, newer = Reader(first), Reader(second)
    partition.add(older, "$default")

    partition.add(newer, "$default")

    assert older.stolen == "amqp:link:stolen"
    assert partition.receivers == {"$default": [newer]}


@pytest.mark.parametrize("epoch", [None, 1])
def test_a_lower_epoch_or_none_is_refused_while_a_higher_one_reads(partition, epoch):
    partition.add(Reader(2), "$default")

    with pytest.raises(AmqpError, match="amqp:link:stolen"):
        partition.add(Reader(epoch), "$default")
    assert len(partition.receivers["$default"]) == 1


def test_consumer_groups_do_not_disturb_each_other(partition):
    first = Reader(5)
    partition.add(first, "a")

    partition.add(Reader(1), "b")

    assert first.stolen is None


def test_the_sixth_receiver_without_epoch_is_refused(partition):
    readers = [Reader() for _ in range(5)]
    for reader in readers:
        partition.add(reader, "$default")

    with pytest.raises(AmqpError, match="resource-limit-exceeded"):
        partition.add(Reader(), "$default")

    partition.remove(readers[0], "$default")
    partition.add(Reader(), "$default")


def test_removing_a_receiver_that_is_gone_is_no_error(partition):
    partition.remove(Reader(), "$default")

    assert partition.receivers == {}


# --------------------------------------------------------------------------------------------------- hubs


def test_events_without_a_key_go_round_robin_and_those_with_one_stay_together(hub):
    assert [hub.partition_for(None).id for _ in range(6)] == ["0", "1", "2", "3", "0", "1"]
    assert len({hub.partition_for("node-1").id for _ in range(5)}) == 1


def test_consumer_groups_are_found_in_any_case_and_unknown_ones_are_told(hub):
    assert hub.consumer_group("$Default") == "$default"
    assert hub.consumer_group("SCORER") == "scorer"
    with pytest.raises(AmqpError, match=r"not-found: .*'telemetry/consumergroups/nope'"):
        hub.consumer_group("nope")


@pytest.mark.parametrize("partition_id", ["4", "-1", "", "x", "1e0", "٣", "0" * 5000 + "9"])
def test_a_partition_that_is_not_there_is_told(hub, partition_id):
    with pytest.raises(AmqpError, match="argument-out-of-range"):
        hub.partition(partition_id)


def test_the_partition_count_is_fixed_at_creation(hub, tmp_path):
    with pytest.raises(SettingsError, match=r"has 4 partitions, got 8.*use --hub telemetry:4"):
        open_hub(tmp_path, "telemetry", 8, [], RETENTION)

    again = open_hub(tmp_path, "Telemetry", 4, [], RETENTION)
    assert again.created_ms == hub.created_ms
    again.close()


@pytest.mark.parametrize(("name", "count"), [("", 1), ("../x", 1), ("a/b", 1), ("-a", 1), ("a", 0), ("a", 33)])
def test_impossible_hubs_are_refused_with_what_would_do(tmp_path, name, count):
    with pytest.raises(SettingsError, match="must be"):
        open_hub(tmp_path, name, count, [], RETENTION)


async def test_events_that_cannot_be_written_are_the_servers_trouble_not_the_senders(hub, tmp_path):
    class FullDisk:
        def append(self, events):
            raise OSError(28, "No space left on device")

    partition = Partition("0", FullDisk())

    with pytest.raises(AmqpError, match=r"com\.microsoft:server-busy: .*No space left on device"):
        partition.append([StoredEvent(0, b"", b"x")])


# ------------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("audience", ["sb://localhost:5672/telemetry", "amqps://localhost/Telemetry/Partitions/0"])
def test_the_sdks_token_opens_the_hub_it_is_for_until_it_expires(audience):
    grants, now = Grants("secret"), time.time()

    grants.put(generate_sas_token(audience, "Root", "secret", int(now) + 100), audience, now)

    grants.check("telemetry", now + 99)
    with pytest.raises(AmqpError, match="unauthorized-access"):
        grants.check("telemetry", now + 101)
    with pytest.raises(AmqpError, match="unauthorized-access"):
        grants.check("other", now)


def test_a_token_for_the_namespace_opens_the_hub_that_is_asked_for():
    grants = Grants("secret")

    grants.put(generate_sas_token("sb://localhost/", "Root", "secret"), "sb://localhost/telemetry", time.time())

    grants.check("telemetry", time.time())


def _token(resource="sb://localhost/telemetry", key="secret", expiry="99999999999", signature=None):
    if signature is None:
        message = f"{quote_plus(resource)}\n{expiry}".encode()
        signature = base64.b64encode(hmac.new(key.encode(), message, hashlib.sha256).digest()).decode()
    return f"SharedAccessSignature sr={quote_plus(resource)}&sig={quote_plus(signature)}&se={expiry}&skn=Root"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (_token(key="wrong"), "InvalidSignature"),
        (_token(signature=""), "InvalidSignature"),
        (_token(signature="ä€"), "InvalidSignature"),
        (_token(expiry="1"), "ExpiredToken"),
        (_token(expiry=""), "ExpiredToken"),
        (_token(expiry="9" * 5000), "ExpiredToken"),
        (_token(resource="sb://localhost/other"), "InvalidAudience"),
        ("SharedAccessSignature ", "InvalidSignature"),
        ("eyJhbGciOi.jwt.token", "SharedAccessSignature token is needed"),
        (None, "SharedAccessSignature token is needed"),
        (b"x", "SharedAccessSignature token is needed"),
    ],
)
def test_a_token_that_is_not_good_opens_nothing(token, reason):
    grants = Grants("secret")

    with pytest.raises(AmqpError, match=reason):
        grants.put(token, "sb://localhost/telemetry", time.time())

    with pytest.raises(AmqpError, match="unauthorized-access"):
        grants.check("telemetry", time.time())


def test_without_a_key_every_token_passes():
    grants = Grants(None)

    grants.put("nonsense", "sb://localhost/telemetry", 0)

    grants.check("telemetry", 0)


@given(st.text(max_size=60))
def test_any_address_has_a_hub_name_or_none(address):
    assert "/" not in hub_of(address)


# ------------------------------------------------------------------------------------------------- faults


def test_no_fault_is_drawn_unless_configured():
    faults = Faults()

    assert not any(faults.duplicates(1) or faults.rejection() for _ in range(1000))
    assert faults.connection_lifetime_bytes() is None
    assert set(faults.state()["injected"].values()) == {0}


def test_the_same_seed_draws_the_same_faults_and_counts_them():
    drawn = []
    for _ in range(2):
        faults = Faults()
        faults.configure({"duplicate_ratio": 0.3, "drop_connection_after_bytes": 1000, "seed": 7})
        drawn.append(
            ([faults.duplicates(5) for _ in range(200)], [faults.connection_lifetime_bytes() for _ in range(20)])
        )

    assert drawn[0] == drawn[1]
    hits = sum(drawn[0][0])
    assert 30 < hits < 90
    assert faults.counters.duplicated_deliveries == hits
    assert faults.counters.duplicated_events == 5 * hits
    assert all(500 <= lifetime <= 1500 for lifetime in drawn[0][1])


def test_configuring_replaces_everything():
    faults = Faults()
    faults.configure({"server_busy_ratio": 1, "unacknowledged_ratio": 1})
    assert faults.rejection()
    assert faults.loses_acknowledgement(3)

    faults.configure({})

    assert not faults.rejection()
    assert not faults.loses_acknowledgement(3)
    assert faults.state()["injected"]["server_busy_rejections"] == 1
    assert faults.state()["injected"]["unacknowledged_events"] == 3


def test_rejections_say_which_and_how_long_to_wait():
    faults = Faults()
    faults.configure({"server_busy_ratio": 1, "server_busy_seconds": 3})
    assert str(faults.rejection()).startswith("com.microsoft:server-busy: ")
    assert "wait 3 seconds" in str(faults.rejection())

    faults.configure({"quota_exceeded_ratio": 1})

    assert str(faults.rejection()).startswith("amqp:resource-limit-exceeded: ")
    assert faults.counters.quota_exceeded_rejections == 1


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "1",
        "null",
        '{"duplicate_ratio": 2}',
        '{"duplicate_ratio": -0.1}',
        '{"duplicate_ratio": true}',
        '{"duplicate_ratio": "1"}',
        '{"duplicate_ratio": NaN}',
        '{"server_busy": 1}',
        '{"seed": "a"}',
        '{"seed": 1.5}',
        '{"drop_connection_after_bytes": 1}',
        '{"server_busy_seconds": 0}',
        '{"drop_connection_after_bytes": 1.5}',
        '{"drop_connection_after_bytes": true}',
    ],
)
def test_impossible_faults_are_refused_and_change_nothing(document):
    faults = Faults()
    faults.configure({"duplicate_ratio": 0.5})

    with pytest.raises(ValueError, match=r"must be|is no fault"):
        faults.configure(json.loads(document))

    assert faults.settings.duplicate_ratio == 0.5
