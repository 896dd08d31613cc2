"""On which nodes the agent runs, how it is replaced, how it is found."""

from typing import Any

from tools.helm.render import CHART, Manifest, load_values, merged, render

IDENTITY = load_values(CHART / "ci/identity-values.yaml")
POOLS = load_values(CHART / "ci/pools-values.yaml")
LOCKED_DOWN = load_values(CHART / "ci/locked-down-values.yaml")
POOL = "kubernetes.azure.com/agentpool"
NO_VIRTUAL_NODES = {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]}


def daemon_sets(values: dict[str, Any]) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in render(values) if each["kind"] == "DaemonSet"}


def pod(daemon_set: Manifest) -> dict[str, Any]:
    return daemon_set["spec"]["template"]["spec"]


def conditions(spec: dict[str, Any]) -> list[dict[str, Any]]:
    affinity = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    return term["matchExpressions"]


def environment(daemon_set: Manifest) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in pod(daemon_set)["containers"][0]["env"]}


def test_one_daemon_set_covers_every_linux_node_but_virtual_ones() -> None:
    (daemon_set,) = daemon_sets(IDENTITY).values()

    assert pod(daemon_set)["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod(daemon_set)["tolerations"] == [{"operator": "Exists"}]
    assert conditions(pod(daemon_set)) == [NO_VIRTUAL_NODES]
    assert pod(daemon_set)["priorityClassName"] == "system-node-critical"


def test_the_pod_of_helm_test_keeps_to_the_same_nodes() -> None:
    (test_pod,) = (each for each in render(POOLS) if each["kind"] == "Pod")

    assert conditions(test_pod["spec"]) == [NO_VIRTUAL_NODES, *POOLS["nodeMatchExpressions"]]
    assert test_pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_taints_of_spot_and_system_pools_are_tolerated_where_not_all_are() -> None:
    for daemon_set in daemon_sets(POOLS).values():
        assert pod(daemon_set)["tolerations"] == [
            {
                "key": "kubernetes.azure.com/scalesetpriority",
                "operator": "Equal",
                "value": "spot",
                "effect": "NoSchedule",
            },
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
        ]


def test_every_node_gets_exactly_one_pod_which_knows_its_pool() -> None:
    found = daemon_sets(POOLS)

    chosen = {
        name: [each for each in conditions(pod(daemon_set)) if each["key"] == POOL]
        for name, daemon_set in found.items()
    }
    base = "release-devops-monitor"
    assert chosen == {
        base: [{"key": POOL, "operator": "NotIn", "values": ["system", "user", "spot"]}],
        **{f"{base}-{pool}": [{"key": POOL, "operator": "In", "values": [pool]}] for pool in POOLS["pools"]},
    }
    assert {name: environment(each)["AGENT_POOL"] for name, each in found.items()} == {
        base: "other",
        **{f"{base}-{pool}": pool for pool in POOLS["pools"]},
    }


def test_no_daemon_set_claims_the_pods_of_another() -> None:
    found = daemon_sets(POOLS).values()
    selectors = [each["spec"]["selector"]["matchLabels"] for each in found]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in found]

    claims = [[selector.items() <= label.items() for label in labels] for selector in selectors]

    assert claims == [[row == column for column in range(4)] for row in range(4)]


def test_pods_are_replaced_a_few_at_a_time() -> None:
    (daemon_set,) = daemon_sets(IDENTITY).values()

    assert daemon_set["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "10%"},
    }


def test_the_agent_has_time_to_send_what_it_has() -> None:
    from agent.service import STOP_WITHIN

    (daemon_set,) = daemon_sets(IDENTITY).values()

    assert pod(daemon_set)["terminationGracePeriodSeconds"] > STOP_WITHIN


def test_probes_ask_the_port_that_the_agent_listens_on() -> None:
    for values in (IDENTITY, LOCKED_DOWN):
        (daemon_set,) = daemon_sets(values).values()
        (container,) = pod(daemon_set)["containers"]
        settings = next(each for each in render(values) if each["kind"] == "ConfigMap")["data"]
        (port,) = container["ports"]

        assert port["name"] == "metrics"
        assert settings["AGENT_HTTP_LISTEN"] == f"0.0.0.0:{port['containerPort']}"
        asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert asked == {
            "startup": {"path": "/healthz", "port": "metrics"},
            "liveness": {"path": "/healthz", "port": "metrics"},
            "readiness": {"path": "/readyz", "port": "metrics"},
        }


def test_prometheus_finds_the_pods_in_one_way_at_a_time() -> None:
    def found(discovery: str) -> tuple[set[str], list[str]]:
        manifests = render(merged(IDENTITY, {"metrics": {"discovery": discovery}}))
        (daemon_set,) = (each for each in manifests if each["kind"] == "DaemonSet")
        annotations = daemon_set["spec"]["template"]["metadata"]["annotations"]
        return {each for each in annotations if "prometheus" in each}, [
            each["apiVersion"] for each in manifests if each["kind"] == "PodMonitor"
        ]

    assert found("annotations") == ({"prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"}, [])
    assert found("podMonitor") == (set(), ["monitoring.coreos.com/v1"])
    assert found("none") == (set(), [])


def test_a_pod_monitor_selects_the_agents_of_every_pool_and_no_other_pod() -> None:
    manifests = render(merged(POOLS, {"metrics": {"discovery": "podMonitor"}}))
    (monitor,) = (each for each in manifests if each["kind"] == "PodMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    agents = [each["spec"]["template"]["metadata"]["labels"] for each in manifests if each["kind"] == "DaemonSet"]
    (test_pod,) = (each for each in manifests if each["kind"] == "Pod")

    assert all(selector <= labels.items() for labels in agents)
    assert not selector <= test_pod["metadata"]["labels"].items()
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"


def test_helm_test_checks_the_settings_and_reads_the_node_once() -> None:
    (test_pod,) = (each for each in render(IDENTITY) if each["kind"] == "Pod")
    (daemon_set,) = daemon_sets(IDENTITY).values()
    steps = [*test_pod["spec"]["initContainers"], *test_pod["spec"]["containers"]]

    assert test_pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert test_pod["spec"]["restartPolicy"] == "Never"
    assert [step["args"] for step in steps] == [["--check"], ["--once"]]
    assert [step["env"] for step in steps] == [pod(daemon_set)["containers"][0]["env"]] * 2
    assert {step["image"] for step in steps} == {pod(daemon_set)["containers"][0]["image"]}
