"""The hardened container publishes: with a key, and with a workload identity by way of DNS and TLS. It ends in time."""

import json
import re
import ssl
import time

import pytest
import trustme

from tests.eventually import eventually
from tests.functional.agent_process import BrokerProcess
from tests.image.image_container import SPOOL
from tests.image.pod_services import NameServer, TokenEndpoint, forwarder

HTTP, AMQP, AMQPS, HTTPS, DNS = 9464, 15672, 5671, 443, 53
LOGIN, HUB = "login.devops-monitor.test", "hub.devops-monitor.test"
SETTINGS = {
    "AGENT_SAMPLE_INTERVAL": "0.5",
    "AGENT_PUBLISH_INTERVAL": "1",
    "AGENT_PUBLISH_SPREAD": "0",
    "AGENT_HTTP_LISTEN": f"0.0.0.0:{HTTP}",
    "EVENTHUB_NAME": "telemetry",
}
KEY = (
    f"Endpoint=sb://127.0.0.1:{AMQP};SharedAccessKeyName=Agent;SharedAccessKey=SAS_KEY_VALUE;"
    "UseDevelopmentEmulator=true"
)
CERTIFI = "/usr/local/lib/python3.13/site-packages/certifi/cacert.pem"


@pytest.fixture
def broker(tmp_path):
    process = BrokerProcess(tmp_path / "broker")
    yield process
    process.stop()


def test_with_a_key_it_publishes_answers_probes_and_ends_orderly(start, broker):
    container = start(settings={**SETTINGS, "EVENTHUB_CONNECTION_STRING": KEY})
    container.when_listening(HTTP)

    # Event Hubs is not there yet: the agent lives and keeps what it has.
    assert container.get(HTTP, "/healthz")[0] == 200
    eventually(lambda: list(spooled(container)), "envelopes in the spool")
    assert container.get(HTTP, "/readyz")[0] == 503
    with forwarder(container.listener(AMQP), broker.port):
        envelopes = broker.envelopes(lambda found: len(found) >= 4)
        eventually(lambda: container.get(HTTP, "/readyz")[0] == 200, "a ready agent")
        metrics = container.get(HTTP, "/metrics")[1]
        code = container.stop()

    assert [envelope.seq for envelope in envelopes] == list(range(1, len(envelopes) + 1))
    assert {envelope.node for envelope in envelopes} == {"node-1"}
    assert metrics.endswith("# EOF\n")
    assert "\ndevops_monitor_agent_collector_failures_total{" in metrics
    assert [line for line in metrics.splitlines() if re.match(r"\w+_collector_failures_total\{.*\} [^0]", line)] == []
    assert code == 0
    assert [entry for entry in container.log() if entry["level"] in ("error", "critical")] == []


def test_with_a_workload_identity_it_finds_names_trusts_certificates_and_publishes(start, broker, tmp_path):
    authority = trustme.CA()
    files = {name: tmp_path / name for name in ("ca.pem", "resolv.conf", "token")}
    authority.cert_pem.write_to_path(files["ca.pem"])
    files["resolv.conf"].write_text("nameserver 127.0.0.1\noptions timeout:1\n")
    files["token"].write_text("the.projected.token")
    for path in files.values():
        path.chmod(0o644)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(LOGIN, HUB).configure_cert(tls)
    container = start(
        settings={
            **SETTINGS,
            "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": HUB,
            "AZURE_AUTHORITY_HOST": f"https://{LOGIN}/",
            "AZURE_CLIENT_ID": "11111111-1111-1111-1111-111111111111",
            "AZURE_TENANT_ID": "22222222-2222-2222-2222-222222222222",
            "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/token",
            "SSL_CERT_FILE": "/test/ca.pem",
        },
        files={
            "/etc/resolv.conf": files["resolv.conf"],
            "/var/run/secrets/azure/tokens/token": files["token"],
            "/test/ca.pem": files["ca.pem"],
            CERTIFI: files["ca.pem"],  # Event Hubs' client trusts certifi's list and nothing else
        },
    )

    with (
        NameServer(container.listener(DNS, kind=2)) as names,
        TokenEndpoint(container.listener(HTTPS), tls) as login,
        forwarder(container.listener(AMQPS), broker.port, tls),
    ):
        envelopes = broker.envelopes(lambda found: len(found) >= 2)
        container.stop()

    assert envelopes[0].node == "node-1"
    assert {LOGIN, HUB} <= names.asked
    assert login.requests[0]["client_assertion"] == "the.projected.token"
    assert login.requests[0]["scope"] == "https://eventhubs.azure.net//.default"


def test_it_ends_in_time_where_event_hubs_cannot_be_reached(start):
    container = start(settings={**SETTINGS, "EVENTHUB_CONNECTION_STRING": KEY})
    eventually(lambda: len(list(spooled(container))) >= 2, "envelopes in the spool")
    began = time.monotonic()

    code = container.stop()

    assert code == 0
    assert time.monotonic() - began < 12


def spooled(container) -> list[str]:
    program = (
        f"import json, os; print(json.dumps([n for d in os.walk('{SPOOL}') for n in d[2] if n.endswith('.envelope')]))"
    )
    return json.loads(container.python(program))
