"""The chart's values and the agent's settings: each leads to the other, and the agent takes what the chart gives it."""

import re
from pathlib import Path
from typing import Any

import pytest

from agent.settings import KNOWN, read_settings
from tools.helm.render import CHART, REPOSITORY, load_values, merged, render, values_files

EVENT_HUB = set(re.findall(r'"(EVENTHUB_[A-Z_]+)"', (REPOSITORY / "agent/hub_settings.py").read_text()))
NOT_REACHABLE = {
    "AGENT_NODE": "NODE_NAME says it, which the downward API gives",
    "AGENT_STATUS_FILE": "nobody can read a file in a pod without a shell; /metrics says the same",
}
FIXED = {
    "AGENT_PROCFS": "/host/proc",
    "AGENT_SYSFS": "/host/sys",
    "AGENT_ROOTFS": "/host/root",
    "AGENT_SPOOL_DIR": "/spool",
    "AGENT_KUBELET_URL": "https://$(HOST_IP):10250",
}
"""What follows from the chart's mounts and from Kubernetes, and is nobody's choice."""

KEY = "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0"
REACHED: dict[str, tuple[dict[str, Any], str]] = {
    "AGENT_CLUSTER": ({"agent": {"cluster": "aks-other"}}, "aks-other"),
    "AGENT_POOL": ({"agent": {"pool": "gpu"}}, "gpu"),
    "AGENT_SAMPLE_INTERVAL": ({"agent": {"sampleInterval": 0.5}}, "0.5"),
    "AGENT_PUBLISH_INTERVAL": ({"agent": {"publishInterval": 3600}}, "3600"),
    "AGENT_PUBLISH_SPREAD": ({"agent": {"publishSpread": 0}}, "0"),
    "AGENT_COLLECTORS": ({"agent": {"collectors": ["cpu", "disk"]}}, "cpu,disk"),
    "AGENT_LOG_LEVEL": ({"agent": {"logLevel": "debug"}}, "debug"),
    **{
        f"AGENT_{setting}_{way.upper()}": ({"agent": {value: {way: r"^a\.\d+$"}}}, r"^a\.\d+$")
        for setting, value in {"DISK": "disk", "MOUNT": "mount", "FS_TYPE": "fsType", "NET": "net"}.items()
        for way in ("include", "exclude")
    },
    "AGENT_SPOOL_MAX_BYTES": ({"spool": {"maxBytes": 1099511627776}}, "1099511627776"),
    "AGENT_SPOOL_MAX_AGE": ({"spool": {"maxAge": 604800}}, "604800"),
    "AGENT_SPOOL_FSYNC": ({"spool": {"fsync": True}}, "true"),
    "AGENT_HTTP_LISTEN": ({"metrics": {"port": 9100}}, "0.0.0.0:9100"),
    "AGENT_KUBELET_VERIFY": ({"agent": {"kubelet": {"verify": False}}}, "false"),
    "AGENT_KUBELET_CA_FILE": ({"agent": {"kubelet": {"caFile": "/etc/ca.crt"}}}, "/etc/ca.crt"),
    "AGENT_KUBELET_TOKEN_FILE": ({"agent": {"kubelet": {"tokenFile": "/etc/token"}}}, "/etc/token"),
    "EVENTHUB_NAME": ({"eventHubs": {"name": "other"}}, "other"),
    "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": (
        {"eventHubs": {"fullyQualifiedNamespace": "other.servicebus.windows.net"}},
        "other.servicebus.windows.net",
    ),
    "EVENTHUB_CONNECTION_STRING": (
        {
            "eventHubs": {"fullyQualifiedNamespace": "", "connectionString": KEY},
            "workloadIdentity": {"clientId": "", "tenantId": ""},
        },
        KEY,
    ),
}
"""How each setting is set by values, and what the agent then sees."""

# With the kubernetes collector, so that its settings are among them.
VALUES = merged(load_values(CHART / "ci/identity-values.yaml"), {"agent": {"collectors": ["default", "kubernetes"]}})


def environment(values: dict[str, Any]) -> dict[str, str]:
    """What the agent's container sees, were the pod on node-1."""
    manifests = render(values)
    of_config = {each["metadata"]["name"]: each["data"] for each in manifests if each["kind"] == "ConfigMap"}
    of_secret = {each["metadata"]["name"]: each["stringData"] for each in manifests if each["kind"] == "Secret"}
    daemon_set = next(each for each in manifests if each["kind"] == "DaemonSet")
    container = daemon_set["spec"]["template"]["spec"]["containers"][0]
    seen: dict[str, str] = {}
    for source in container["envFrom"]:
        seen |= of_config[source["configMapRef"]["name"]]
    for variable in container["env"]:
        if "value" in variable:
            seen[variable["name"]] = variable["value"]
        elif "fieldRef" in variable["valueFrom"]:
            seen[variable["name"]] = {"spec.nodeName": "node-1", "status.hostIP": "10.0.0.4"}[
                variable["valueFrom"]["fieldRef"]["fieldPath"]
            ]
        else:
            secret = variable["valueFrom"]["secretKeyRef"]
            seen[variable["name"]] = of_secret.get(secret["name"], {secret["key"]: KEY + ";EntityPath=telemetry"})[
                secret["key"]
            ]
    return seen


def test_every_setting_of_the_agent_is_reached_from_the_values_or_left_out_for_a_reason() -> None:
    assert EVENT_HUB
    assert REACHED.keys() | FIXED.keys() | NOT_REACHABLE.keys() == KNOWN | EVENT_HUB


@pytest.mark.parametrize("setting", REACHED)
def test_a_value_reaches_its_setting(setting: str) -> None:
    changes, seen = REACHED[setting]

    assert environment(merged(VALUES, changes))[setting] == seen
    assert environment(VALUES).get(setting) != seen


def test_the_chart_sets_nothing_that_the_agent_does_not_know() -> None:
    ours = {name for name in environment(VALUES) if name.startswith(("AGENT_", "EVENTHUB_"))}

    assert ours - KNOWN - EVENT_HUB == set()
    assert {name: value for name, value in environment(VALUES).items() if name in FIXED} == FIXED
    assert environment(VALUES)["NODE_NAME"] == "node-1"


@pytest.mark.parametrize("path", values_files(), ids=lambda path: path.stem)
def test_the_agent_takes_what_the_chart_gives_it(path: Path, tmp_path: Path) -> None:
    seen = environment(load_values(path))
    # They exist in the pod only.
    (tmp_path / "proc").symlink_to("/proc")
    seen |= {"AGENT_PROCFS": str(tmp_path / "proc"), "AGENT_SYSFS": str(tmp_path)}
    if "AGENT_ROOTFS" in seen:
        seen["AGENT_ROOTFS"] = str(tmp_path)
    if "AGENT_KUBELET_URL" in seen:
        (tmp_path / "token").write_text("token")
        seen |= {"AGENT_KUBELET_URL": "https://10.0.0.4:10250"}
        seen |= {"AGENT_KUBELET_TOKEN_FILE": str(tmp_path / "token"), "AGENT_KUBELET_CA_FILE": str(tmp_path / "token")}

    settings = read_settings(seen, publishing=True)

    values = load_values(path)
    assert settings.node == "node-1"
    assert settings.cluster == values["agent"]["cluster"]
    assert settings.listen is not None
    assert settings.hub is not None
    assert (settings.hub.namespace is not None) == ("workloadIdentity" in values)


def test_defaults_of_the_chart_are_those_of_the_agent(tmp_path: Path) -> None:
    seen = environment(load_values(CHART / "ci/identity-values.yaml"))
    seen = {name: value for name, value in seen.items() if name not in FIXED}
    own = {name: seen[name] for name in ("AGENT_CLUSTER", "NODE_NAME", "EVENTHUB_NAME", "AGENT_HTTP_LISTEN")}
    own["EVENTHUB_FULLY_QUALIFIED_NAMESPACE"] = seen["EVENTHUB_FULLY_QUALIFIED_NAMESPACE"]

    assert read_settings(seen, publishing=True) == read_settings(own, publishing=True)
