"""The agent with a workload identity: azure-identity fetches a token of a stand-in for Entra, all of it by TLS."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest
from azure.core.credentials import AccessToken

from agent.publisher.identity import PodIdentity
from bench.agent.programs import REPOSITORY, Agent, Broker, Cloud
from tests.eventually import eventually

QUICK = {"AGENT_SAMPLE_INTERVAL": "0.1", "AGENT_PUBLISH_INTERVAL": "0.1", "AGENT_PUBLISH_SPREAD": "0"}


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as running:
        yield running


@pytest.fixture
def cloud(tmp_path, broker):
    with Cloud(tmp_path, broker) as running:
        yield running


def problems(agent: Agent) -> list[dict]:
    lines = [json.loads(line) for line in agent.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == "publishing_failed"]


def test_the_pods_token_opens_the_event_hub_and_is_fetched_once(tmp_path, broker, cloud):
    with Agent(tmp_path, cloud.by_identity() | QUICK) as agent:
        agent.await_(lambda: broker.envelopes() >= 10, "ten envelopes were published")

        assert problems(agent) == []
    assert cloud.tokens_issued() == 1


def test_a_federated_token_that_entra_refuses_is_named_and_nothing_is_lost(tmp_path, broker, cloud):
    (tmp_path / "stale-token").write_text("of a service account that is gone\n")
    stale = {"AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "stale-token")}

    with Agent(tmp_path, cloud.by_identity() | QUICK | stale) as agent:
        (problem,) = eventually(lambda: problems(agent), "what went wrong")
        eventually(lambda: len(list((tmp_path / "agent-spool").glob("*.envelope"))) > 3, "waiting envelopes")

        assert problem["reason"] == "unauthorized"
    assert broker.envelopes() == 0


def test_an_entra_that_cannot_be_reached_is_no_reason_to_end(tmp_path, broker, cloud, free_port):
    away = {"AZURE_AUTHORITY_HOST": f"https://127.0.0.1:{free_port()}"}

    with Agent(tmp_path, cloud.by_identity() | QUICK | away) as agent:
        (problem,) = eventually(lambda: problems(agent), "what went wrong")

        assert problem["reason"] == "unreachable"


async def test_the_event_loop_goes_on_while_a_token_is_fetched():
    released = threading.Event()
    closed = []

    class Slow:
        def get_token(self, *scopes, **options):
            assert released.wait(10)
            return AccessToken(" ".join(scopes), 1)

        def close(self):
            closed.append(True)

    async with PodIdentity(Slow()) as identity:
        fetching = asyncio.create_task(identity.get_token("scope"))
        await asyncio.sleep(0.05)
        assert not fetching.done()
        released.set()
        assert (await fetching).token == "scope"
    assert closed == [True]


def test_an_identity_does_without_a_second_http_library(tmp_path):
    code = "import sys, agent.publisher.identity as identity; identity.PodIdentity(); print('aiohttp' in sys.modules)"
    environment = {
        "AZURE_TENANT_ID": "tenant",
        "AZURE_CLIENT_ID": "client",
        "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token"),
    }

    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == ["False"]
