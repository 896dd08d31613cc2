"""Where the services of a stack are and what opens them, in the words each client uses. For the supervisor only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.azurite import ACCOUNT, ACCOUNT_KEY
from local.certificates import Certificates
from local.supervisor.data_directory import Keys

REPOSITORY = Path(__file__).resolve().parents[2]
TABLES = REPOSITORY / "infra/log_analytics/tables.json"
RULE = REPOSITORY / "infra/log_analytics/dcr.json"
SAVED_FUNCTIONS = REPOSITORY / "infra/queries/functions"
EVENT_HUB = "telemetry"
PARTITIONS = 4
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Endpoints:
    """Addresses and credentials of one stack; its ports may change until it has started."""

    ports: Mapping[str, int]
    keys: Keys
    certificates: Certificates
    faults: bool
    agent: bool = False
    """Whether the stack has an agent for this machine."""

    @property
    def event_hubs(self) -> str:
        """The connection string of the Event Hubs namespace."""
        return (
            f"Endpoint=sb://localhost:{self.ports['event-hubs']};SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey={self.keys.event_hubs};UseDevelopmentEmulator=true;"
        )

    @property
    def storage(self) -> str:
        """The connection string of the storage account."""
        services = "".join(
            f"{name.capitalize()}Endpoint=http://{HOST}:{self.ports[name]}/{ACCOUNT};"
            for name in ("blob", "queue", "table")
        )
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};{services}"

    @property
    def functions_url(self) -> str:
        """Base of the function app's HTTP interface, without /api."""
        return f"http://{HOST}:{self.ports['functions']}"

    @property
    def log_analytics_url(self) -> str:
        """Base of both the Logs Ingestion API and the query API."""
        return f"https://{HOST}:{self.ports['log-analytics']}"

    @property
    def agent_url(self) -> str | None:
        """Base of the agent's /metrics, /healthz and /readyz; None where the stack has no agent."""
        return f"http://{HOST}:{self.ports['agent']}" if self.agent else None

    @property
    def faults_urls(self) -> Mapping[str, str]:
        """Where faults are ordered, per service; empty where the stack takes no orders."""
        if not self.faults:
            return {}
        return {
            "event-hubs": f"http://{HOST}:{self.ports['event-hubs-faults']}/faults",
            "log-analytics": f"{self.log_analytics_url}/faults",
        }

    @property
    def served(self) -> frozenset[str]:
        """The names of the ports somebody listens on."""
        unserved = {"event-hubs-faults": not self.faults, "agent": not self.agent}
        return frozenset(name for name in self.ports if not unserved.get(name))

    def trust(self) -> dict[str, str]:
        """Environment that makes any HTTP client trust the stack's certificate and reach it without a proxy."""
        bundle = str(self.certificates.bundle)
        hosts = f"{HOST},localhost"
        return {"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "NO_PROXY": hosts, "no_proxy": hosts}

    def for_clients(self) -> dict[str, str]:
        """Environment for agents, the fleet simulator, benchmarks and tests."""
        return {
            "EVENTHUB_CONNECTION_STRING": self.event_hubs,
            "EVENTHUB_NAME": EVENT_HUB,
            "STATE_STORAGE": self.storage,
            "FUNCTIONS_URL": self.functions_url,
            "FUNCTIONS_KEY": self.keys.functions,
            "FUNCTIONS_MASTER_KEY": self.keys.functions_master,
            "LOG_ANALYTICS_URL": self.log_analytics_url,
            "LOG_ANALYTICS_TOKEN": self.keys.log_analytics,
            "LOG_ANALYTICS_WORKSPACE_ID": self.keys.workspace_id,
            **self.trust(),
        }

    def for_function_app(self) -> dict[str, str]:
        """The function app's settings, as they stand in Azure, and the keys the local host asks for."""
        return {
            "AzureWebJobsStorage": self.storage,
            "EVENTHUB": self.event_hubs,
            "EVENTHUB_NAME": EVENT_HUB,
            "EVENTHUB_CONSUMER_GROUP": "$Default",
            "STATE_STORAGE": self.storage,
            "LOGS_INGESTION_ENDPOINT": self.log_analytics_url,
            "LOGS_DCR_IMMUTABLE_ID": _rule_id(),
            "LOGS_WORKSPACE_ID": self.keys.workspace_id,
            "LOGS_QUERY_ENDPOINT": self.log_analytics_url,
            "HTTP_API_KEYS": self.keys.functions,
            "LOCAL_IDENTITY_TOKEN": self.keys.log_analytics,
            "LOCAL_FUNCTIONS_MASTER_KEY": self.keys.functions_master,
            "LOCAL_FUNCTIONS_HOST_KEY": self.keys.functions,
            "PYTHON_THREADPOOL_THREAD_COUNT": "8",
            **self.trust(),
        }


def _rule_id() -> str:
    return str(json.loads(RULE.read_text())["properties"]["immutableId"])
