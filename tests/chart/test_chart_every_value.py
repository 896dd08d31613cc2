"""No value of the chart is decoration: changing any of them changes what is installed."""

from collections.abc import Iterator
from typing import Any

import pytest

from tools.helm.render import CHART, NAMESPACE, ChartRefuses, load_values, merged, render, render_texts, values_files

DEFAULTS = load_values(CHART / "values.yaml")
KEY = "Endpoint=sb://other;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0"
LISTS_AND_MAPS: dict[str, Any] = {
    "imagePullSecrets": [{"name": "other"}],
    "agent.collectors": ["cpu"],
    "metrics.podMonitor.labels": {"other": "yes"},
    "resources.requests.cpu": "77m",
    "nodeSelector.kubernetes.io/os": None,  # fixed: see test_chart_refusals
    "nodeMatchExpressions": [{"key": "other", "operator": "Exists"}],
    "pools": ["other"],
    "tolerations": [{"key": "other", "operator": "Exists"}],
    "podLabels": {"other": "yes"},
    "podAnnotations": {"other": "yes"},
    "extraEnv": [{"name": "OTHER", "value": "yes"}],
    "serviceAccount.annotations": {"other": "yes"},
    "access.viewers.groups": ["other"],
    "access.viewers.users": ["other"],
    "access.operators.groups": ["other"],
    "access.operators.users": ["other"],
    "networkPolicy.ingressFrom": [{"ipBlock": {"cidr": "10.9.0.0/16"}}],
    "networkPolicy.eventHubs.cidrs": ["10.9.0.0/16"],
    "networkPolicy.eventHubs.ports": [5672, 9],
    "networkPolicy.login.cidrs": ["10.9.0.0/16"],
    "networkPolicy.dns.cidrs": [],
    "networkPolicy.kubelet.cidrs": ["10.9.0.0/16"],
    "networkPolicy.extraEgress": [{"ports": [{"port": 9, "protocol": "TCP"}]}],
}
TEXTS: dict[str, str] = {
    "image.repository": "other.azurecr.io/agent",
    "image.digest": "sha256:" + "f" * 64,
    "image.pullPolicy": "Never",
    "agent.logLevel": "error",
    "agent.kubelet.caFile": "/other",
    "agent.kubelet.tokenFile": "/other",
    "eventHubs.fullyQualifiedNamespace": "other.servicebus.windows.net",
    "eventHubs.connectionString": KEY,
    "workloadIdentity.clientId": "00000000-0000-0000-0000-00000000000f",
    "workloadIdentity.tenantId": "00000000-0000-0000-0000-00000000000f",
    "spool.type": "hostPath",
    "spool.hostPath.path": "/var/other",
    "metrics.discovery": "podMonitor",
    "metrics.podMonitor.apiVersion": "azmonitoring.coreos.com/v1",
    "metrics.podMonitor.interval": "77s",
    "metrics.podMonitor.scrapeTimeout": "7s",
    "resources.requests.memory": "77Mi",
    "resources.limits.cpu": "77m",
    "resources.limits.memory": "777Mi",
    "updateStrategy.maxUnavailable": "7%",
}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no mapping with members."""
    if isinstance(value, dict) and value:
        for key, member in value.items():
            yield from leaves(member, (*path, key))
    else:
        yield path, value


def other(path: str, value: Any) -> Any:
    """A valid value that is not the default."""
    if path in LISTS_AND_MAPS:
        return LISTS_AND_MAPS[path]
    if path in TEXTS:
        return TEXTS[path]
    if isinstance(value, bool):
        return not value
    return value + 7 if isinstance(value, int) else "other"


SCENARIOS = [
    *(load_values(path) for path in values_files()),
    merged(load_values(CHART / "local-values.yaml"), {"metrics": {"discovery": "podMonitor"}}),
    merged(
        load_values(CHART / "ci/identity-values.yaml"),
        {
            "agent": {"collectors": ["default", "kubernetes"]},
            "priorityClass": {"name": "of-somebody"},
            "serviceAccount": {"name": "of-somebody"},
        },
    ),
]
PATHS = [(path, value) for path, value in leaves(DEFAULTS) if path != ("nodeSelector", "kubernetes.io/os")]


def manifests_of(scenario: dict[str, Any]) -> dict[str, str]:
    return {name: text for name, text in render_texts(scenario).items() if name.endswith(".yaml")}


@pytest.fixture(scope="module")
def unchanged() -> list[dict[str, str]]:
    """What each scenario installs."""
    return [manifests_of(scenario) for scenario in SCENARIOS]


def changes_something(change: dict[str, Any], unchanged: list[dict[str, str]]) -> bool:
    for scenario, before in zip(SCENARIOS, unchanged, strict=True):
        try:
            if manifests_of(merged(scenario, change)) != before:
                return True
        except ChartRefuses as refusal:  # a key beside an identity, for example
            assert "The values cannot be used" in str(refusal)
    return False


@pytest.mark.parametrize(("path", "value"), PATHS, ids=[".".join(path) for path, _ in PATHS])
def test_a_value_changes_what_is_installed(path: tuple[str, ...], value: Any, unchanged: list[dict[str, str]]) -> None:
    change: Any = other(".".join(path), value)
    for key in reversed(path):
        change = {key: change}

    assert changes_something(change, unchanged)


def test_every_manifest_of_a_namespace_is_in_that_of_the_release() -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "PriorityClass"}
    for scenario in SCENARIOS:
        for each in render(scenario):
            assert each["metadata"].get("namespace") == (None if each["kind"] in cluster_wide else NAMESPACE)


def test_notes_name_what_was_chosen() -> None:
    notes = {path.stem: render_texts(load_values(path))["NOTES.txt"] for path in values_files()}

    assert "with the identity 00000000-0000-0000-0000-000000000001" in notes["identity-values"]
    assert "WARNING: the connection string is stored in the release" in notes["local-values"]
    assert "rollout restart daemonset release-devops-monitor" in notes["existing-secret-values"]
    assert "The service account telemetry-agent is yours" in notes["locked-down-values"]
    assert "helm test" not in notes["locked-down-values"]
