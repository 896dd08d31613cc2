"""What the agent may ask the cluster for, what people may do, and where packets may go."""

from pathlib import Path
from typing import Any

import pytest

from tools.helm.render import CHART, NAMESPACE, RELEASE, Manifest, load_values, merged, render, values_files

every_values_file = pytest.mark.parametrize("path", values_files(), ids=lambda path: path.stem)
IDENTITY = load_values(CHART / "ci/identity-values.yaml")
KUBERNETES = load_values(CHART / "ci/kubernetes-collector-values.yaml")
LOCKED_DOWN = load_values(CHART / "ci/locked-down-values.yaml")
NO_NODE_SERVICES = ["169.254.0.0/16", "168.63.129.16/32"]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def policy(values: dict[str, Any]) -> dict[str, Any]:
    (found,) = of_kind(render(values), "NetworkPolicy")
    return found["spec"]


def egress(values: dict[str, Any]) -> dict[tuple[int, ...], list[dict[str, Any]]]:
    """Peers by the ports they may be reached on."""
    return {tuple(port["port"] for port in rule["ports"]): rule["to"] for rule in policy(values)["egress"]}


def test_the_kubernetes_collector_may_get_statistics_of_nodes_and_nothing_else() -> None:
    manifests = render(KUBERNETES)

    (role,), (binding,) = of_kind(manifests, "ClusterRole"), of_kind(manifests, "ClusterRoleBinding")
    (account,) = of_kind(manifests, "ServiceAccount")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes/stats"], "verbs": ["get"]}]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": role["metadata"]["name"],
    }
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": NAMESPACE}
    ]


@every_values_file
def test_without_that_collector_the_agent_has_no_rights_in_the_cluster(path: Path) -> None:
    values = merged(load_values(path), {"agent": {"collectors": ["default"]}})
    manifests = render(values)

    assert of_kind(manifests, "ClusterRole") + of_kind(manifests, "ClusterRoleBinding") == []
    assert "ServiceAccount" not in str([each["subjects"] for each in of_kind(manifests, "RoleBinding")])


@every_values_file
def test_no_rule_has_a_wildcard_or_reads_secrets(path: Path) -> None:
    manifests = render(load_values(path))
    rules = [rule for each in manifests if each["kind"] in ("Role", "ClusterRole") for rule in each["rules"]]

    assert rules
    assert "*" not in str(rules)
    assert [rule for rule in rules if "secrets" in rule["resources"] or "pods/exec" in rule["resources"]] == []


def test_rights_can_be_left_to_somebody_else() -> None:
    manifests = render(merged(KUBERNETES, {"rbac": {"create": False}, "access": {"create": False}}))

    assert {each["kind"] for each in manifests if "Role" in each["kind"]} == set()


def test_viewers_look_and_operators_also_restart_and_forward() -> None:
    roles = {each["metadata"]["name"]: each["rules"] for each in of_kind(render(IDENTITY), "Role")}
    viewer, operator = roles[f"{RELEASE}-devops-monitor-viewer"], roles[f"{RELEASE}-devops-monitor-operator"]

    assert {verb for rule in viewer for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert [rule for rule in operator if rule not in viewer] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create"]},
    ]


def test_roles_are_bound_to_the_people_listed_and_to_nobody_by_default() -> None:
    assert of_kind(render(IDENTITY), "RoleBinding") == []

    bindings = {each["roleRef"]["name"]: each["subjects"] for each in of_kind(render(LOCKED_DOWN), "RoleBinding")}

    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group"}
    assert bindings == {
        "telemetry-agent-viewer": [group | {"name": LOCKED_DOWN["access"]["viewers"]["groups"][0]}],
        "telemetry-agent-operator": [
            group | {"name": LOCKED_DOWN["access"]["operators"]["groups"][0]},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oncall@example.com"},
        ],
    }


def test_the_network_policy_holds_for_every_pod_of_the_release() -> None:
    manifests = render(load_values(CHART / "ci/pools-values.yaml"))
    (found,) = of_kind(manifests, "NetworkPolicy")
    selector = found["spec"]["podSelector"]["matchLabels"]
    labels = [
        *(each["spec"]["template"]["metadata"]["labels"] for each in of_kind(manifests, "DaemonSet")),
        *(each["metadata"]["labels"] for each in of_kind(manifests, "Pod")),
    ]

    assert found["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert len(labels) == 5
    assert [each for each in labels if not selector.items() <= each.items()] == []


def test_only_the_metrics_port_can_be_reached() -> None:
    assert policy(IDENTITY)["ingress"] == [{"ports": [{"port": 9464, "protocol": "TCP"}]}]
    assert policy(LOCKED_DOWN)["ingress"] == [
        {"ports": [{"port": 9100, "protocol": "TCP"}], "from": LOCKED_DOWN["networkPolicy"]["ingressFrom"]}
    ]


def test_with_a_key_the_agent_reaches_dns_and_event_hubs_only() -> None:
    allowed = egress(load_values(CHART / "ci/existing-secret-values.yaml"))

    assert set(allowed) == {(53, 53), (5671,)}
    assert allowed[5671,] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": NO_NODE_SERVICES}}]


def test_with_an_identity_it_also_reaches_the_login_endpoint() -> None:
    assert set(egress(IDENTITY)) == {(53, 53), (5671,), (443,)}


def test_with_the_kubernetes_collector_it_also_reaches_the_kubelets() -> None:
    allowed = egress(KUBERNETES)

    assert set(allowed) == {(53, 53), (5671,), (443,), (10250,)}
    assert allowed[10250,] == [{"ipBlock": {"cidr": "10.224.0.0/16"}}]


def test_addresses_and_further_rules_are_the_operators_choice() -> None:
    allowed = egress(LOCKED_DOWN)

    assert allowed[5671,] == [{"ipBlock": {"cidr": "10.1.2.4/32"}}]
    assert allowed[3128,] == [{"ipBlock": {"cidr": "10.1.2.5/32"}}]
    assert of_kind(render(merged(IDENTITY, {"networkPolicy": {"enabled": False}})), "NetworkPolicy") == []


def test_names_are_looked_up_at_the_clusters_dns_and_at_caches_on_the_node() -> None:
    peers = egress(IDENTITY)[53, 53]

    assert peers[0]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    assert peers[0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert [peer["ipBlock"]["cidr"].startswith("169.254.") for peer in peers[1:]] == [True, True, True]
