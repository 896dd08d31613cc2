"""The event hub trigger of the functions host, against our broker and Azurite, as the real extension behaves."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from azure.storage.blob import ContainerClient
from functions_host_process import Broker, Host

from local.azurite import Azurite
from tests.eventually import eventually

HUBS = ("events-telemetry", "lossy", "limited", "single")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[SimpleNamespace]:
    directory = tmp_path_factory.mktemp("event_hubs")
    with (
        Broker(directory / "broker", HUBS) as broker,
        Host(
            directory / "host",
            only=("retried", "lossy", "limited", "single"),
            EVENTHUB=broker.connection_string,
            HUB="events-telemetry",
            AzureWebJobsStorage=azurite.connection_string,
        ) as host,
    ):
        host.started()
        yield SimpleNamespace(broker=broker, host=host, azurite=azurite)


def recorded(host: Host, function: str, identifier: str) -> list[dict]:
    """The invocations of a function whose batch holds the event with that id."""
    return [r for r in host.records(function) if any(body["id"] == identifier for body in r["bodies"])]


def checkpoints(azurite: Azurite, hub: str) -> dict[str, dict[str, str]]:
    """The metadata of a hub's checkpoint blobs, by blob name."""
    with ContainerClient.from_connection_string(azurite.connection_string, "azure-webjobs-eventhub") as container:
        blobs = container.list_blobs(f"localhost/{hub}/", include=["metadata"])
        return {blob.name: blob.metadata for blob in blobs}


def test_batch_arrives_as_bytes_with_the_metadata_of_the_real_extension(stack: SimpleNamespace) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)

    stack.broker.send("events-telemetry", {"id": "meta-1"}, {"id": "meta-2"}, key="node-7")

    eventually(lambda: recorded(stack.host, "retried", "meta-2"), "the batch")
    seen = [r for r in stack.host.records("retried") if r["bodies"][0]["id"].startswith("meta")]
    first = seen[0]
    metadata = first["metadata"]
    assert first["partition_keys"][0] == "node-7"
    assert metadata["PartitionContext"] == {
        "IsCheckpointingAfterInvocation": True,
        "FullyQualifiedNamespace": "localhost",
        "EventHubName": "events-telemetry",
        "ConsumerGroup": "$Default",
        "PartitionId": "0",
    }
    assert metadata["PartitionKeyArray"] == ["node-7"] * len(first["bodies"])
    assert metadata["PropertiesArray"][0] == {"kind": "test"}
    assert metadata["SequenceNumberArray"] == first["sequence_numbers"]
    assert metadata["OffsetArray"] == [str(offset) for offset in first["offsets"]]
    enqueued = datetime.fromisoformat(metadata["EnqueuedTimeUtcArray"][0])
    assert enqueued.tzinfo is None
    assert abs((enqueued - before).total_seconds()) < 60
    system = metadata["SystemPropertiesArray"][0]
    assert system["SequenceNumber"] == system["x-opt-sequence-number"] == first["sequence_numbers"][0]
    assert system["PartitionKey"] == "node-7"


def test_failing_batch_is_run_again_until_it_succeeds_while_the_partition_waits(stack: SimpleNamespace) -> None:
    stack.broker.send("events-telemetry", {"id": "retry-1", "fail": 3})
    stack.broker.send("events-telemetry", {"id": "after-1"})

    eventually(lambda: len(recorded(stack.host, "retried", "retry-1")) == 4, "four attempts")
    eventually(lambda: recorded(stack.host, "retried", "after-1"), "the event behind it")
    attempts = recorded(stack.host, "retried", "retry-1")
    assert [record["attempt"] for record in attempts] == [0, 1, 2, 3]
    assert {tuple(record["sequence_numbers"]) for record in attempts} == {tuple(attempts[0]["sequence_numbers"])}
    assert {record["max_attempts"] for record in attempts} == {-1}
    assert attempts[1]["previous_error"] == "ValueError: told to fail at attempt 0"
    after = recorded(stack.host, "retried", "after-1")[0]
    in_one_batch = after["sequence_numbers"] == attempts[0]["sequence_numbers"]
    assert in_one_batch or after["time"] > attempts[-1]["time"]


def test_failing_batch_without_a_retry_policy_is_checkpointed_and_so_lost(stack: SimpleNamespace) -> None:
    stack.broker.send("lossy", {"id": "lost", "fail": 1})

    failed = eventually(lambda: recorded(stack.host, "lossy", "lost"), "the failing batch")
    position = failed[0]["sequence_numbers"][-1]
    eventually(
        lambda: stack.host.partition("lossy")["checkpointed_sequence_number"] == position,
        "the checkpoint behind the failed batch",
    )
    stack.broker.send("lossy", {"id": "next"})
    eventually(lambda: recorded(stack.host, "lossy", "next"), "the next event")
    assert len(recorded(stack.host, "lossy", "lost")) == 1
    assert stack.host.partition("lossy")["failed"] == 1
    assert stack.host.partition("lossy")["last_error"] == "ValueError: told to fail at attempt 0"


def test_failing_batch_is_given_up_after_the_last_retry(stack: SimpleNamespace) -> None:
    stack.broker.send("limited", {"id": "hopeless", "fail": 99})
    stack.broker.send("limited", {"id": "behind"})

    eventually(lambda: recorded(stack.host, "limited", "behind"), "the event behind it")
    eventually(
        lambda: stack.host.partition("limited")["checkpointed_sequence_number"] == 1, "the checkpoint behind both"
    )
    attempts = [record["attempt"] for record in recorded(stack.host, "limited", "hopeless")]
    assert attempts == [0, 1, 2]


def test_function_of_cardinality_one_gets_events_one_by_one_in_order(stack: SimpleNamespace) -> None:
    stack.broker.send("single", {"id": "a"}, {"id": "b", "fail": 1}, {"id": "c"})

    eventually(lambda: recorded(stack.host, "single", "c"), "the last event")
    seen = stack.host.records("single")
    assert [[body["id"] for body in record["bodies"]] for record in seen] == [["a"], ["b"], ["c"]]
    assert [record["sequence_numbers"] for record in seen] == [[0], [1], [2]]
    assert [record["partition_keys"] for record in seen] == [["node-1"]] * 3
    assert seen[0]["metadata"]["PartitionContext"]["EventHubName"] == "single"
    eventually(lambda: stack.host.partition("single")["checkpointed_sequence_number"] == 2, "the checkpoint")


def test_checkpoints_are_named_and_filled_as_every_sdk_does(stack: SimpleNamespace) -> None:
    stack.broker.send("events-telemetry", {"id": "checkpointed"})

    record = eventually(lambda: recorded(stack.host, "retried", "checkpointed"), "the event")[-1]
    expected = {"offset": str(record["offsets"][-1]), "sequencenumber": str(record["sequence_numbers"][-1])}
    eventually(
        lambda: (
            checkpoints(stack.azurite, "events-telemetry")
            == {"localhost/events-telemetry/$default/checkpoint/0": expected}
        ),
        f"the checkpoint {expected}",
    )


def test_bodies_arrive_byte_identical_however_much_they_look_like_json(stack: SimpleNamespace) -> None:
    spaced = {"id": base64.b64encode(b"\x00\xff raw").decode(), "text": "ä  \u2028"}

    stack.broker.send("events-telemetry", spaced)

    assert eventually(lambda: recorded(stack.host, "retried", spaced["id"]), "the event")[0]["bodies"][-1] == spaced


def test_status_document_counts_invocations_and_tells_where_each_partition_is(stack: SimpleNamespace) -> None:
    stack.broker.send("events-telemetry", {"id": "counted"})

    record = eventually(lambda: recorded(stack.host, "retried", "counted"), "the event")[-1]
    position = record["sequence_numbers"][-1]
    eventually(
        lambda: stack.host.partition("retried")["checkpointed_sequence_number"] == position, "the checkpoint in it"
    )
    partition = stack.host.partition("retried")
    functions = stack.host.status()["functions"]
    assert partition["last_sequence_number"] == position
    assert partition["state"] == "receiving"
    assert partition["succeeded"] == functions["retried"]["succeeded"] > 0
    assert functions["switched_off"] == {"succeeded": 0, "failed": 0, "disabled": True}
