"""Wrong values are refused before anything is installed, with what was wrong and what would be right."""

from typing import Any

import pytest

from tools.helm.render import CHART, ChartRefuses, load_values, merged, render

GOOD = load_values(CHART / "ci/identity-values.yaml")
KEY = "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=secret"
WITHOUT_IDENTITY = {"eventHubs": {"fullyQualifiedNamespace": ""}, "workloadIdentity": {"clientId": "", "tenantId": ""}}


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(ChartRefuses) as raised:
        render(merged(GOOD, changes))
    return str(raised.value)


SINGLE_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"agnet": {}}, "additional properties 'agnet' not allowed"),
    ({"agent": {"sampleIntervall": 5}}, "at '/agent': additional properties 'sampleIntervall' not allowed"),
    ({"agent": None}, "missing property 'agent'"),
    ({"spool": {"type": None}}, "at '/spool': missing property 'type'"),
    ({"nameOverride": "Upper"}, "at '/nameOverride': 'Upper' does not match pattern"),
    ({"fullnameOverride": "f" * 51}, "at '/fullnameOverride'"),
    ({"image": {"repository": "https://example.azurecr.io/Agent"}}, "at '/image/repository'"),
    ({"image": {"tag": 1.2}}, "at '/image/tag': got number, want string"),
    ({"image": {"digest": "sha256:12"}}, "at '/image/digest': 'sha256:12' does not match pattern"),
    ({"image": {"pullPolicy": "Sometimes"}}, "must be one of 'Always', 'IfNotPresent', 'Never'"),
    ({"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0': got string, want object"),
    ({"imagePullSecrets": [{}]}, "missing property 'name'"),
    ({"agent": {"cluster": "two words"}}, "at '/agent/cluster': 'two words' does not match pattern"),
    ({"agent": {"cluster": 7}}, "at '/agent/cluster': got number, want string"),
    ({"agent": {"pool": "p" * 129}}, "at '/agent/pool': maxLength: got 129, want 128"),
    ({"agent": {"sampleInterval": 0}}, "at '/agent/sampleInterval': minimum: got 0, want 0.1"),
    ({"agent": {"sampleInterval": "10"}}, "at '/agent/sampleInterval': got string, want number"),
    ({"agent": {"publishInterval": 3601}}, "at '/agent/publishInterval': maximum: got 3,601, want 3,600"),
    ({"agent": {"publishSpread": -1}}, "at '/agent/publishSpread': minimum: got -1, want 0"),
    ({"agent": {"collectors": []}}, "at '/agent/collectors': minItems: got 0, want 1"),
    ({"agent": {"collectors": "cpu,memory"}}, "at '/agent/collectors': got string, want array"),
    ({"agent": {"collectors": ["cpu", "cpu"]}}, "at '/agent/collectors': items at 0 and 1 are equal"),
    ({"agent": {"logLevel": "loud"}}, "must be one of 'debug', 'info', 'warning', 'error'"),
    ({"agent": {"disk": {"include": ["sda"]}}}, "at '/agent/disk/include': got array, want string"),
    ({"agent": {"kubelet": {"verify": "no"}}}, "at '/agent/kubelet/verify': got string, want boolean"),
    ({"agent": {"kubelet": {"caFile": "ca.crt"}}}, "at '/agent/kubelet/caFile'"),
    ({"eventHubs": {"fullyQualifiedNamespace": "sb://example"}}, "at '/eventHubs/fullyQualifiedNamespace'"),
    ({"eventHubs": {"name": "a b"}}, "at '/eventHubs/name': 'a b' does not match pattern"),
    ({"eventHubs": {"connectionString": ["a"]}}, "at '/eventHubs/connectionString': got array, want string"),
    ({"eventHubs": {"existingSecret": "event-hub"}}, "at '/eventHubs/existingSecret': got string, want object"),
    ({"workloadIdentity": {"clientId": "my-identity"}}, "at '/workloadIdentity/clientId'"),
    ({"spool": {"type": "pvc"}}, "at '/spool/type': value must be one of 'emptyDir', 'hostPath'"),
    ({"spool": {"maxBytes": 65535}}, "at '/spool/maxBytes': minimum: got 65,535, want 65,536"),
    ({"spool": {"maxBytes": "64Mi"}}, "at '/spool/maxBytes': got string, want integer"),
    ({"spool": {"maxAge": 604801}}, "at '/spool/maxAge': maximum: got 604,801, want 604,800"),
    ({"spool": {"hostPath": {"path": "/"}}}, "at '/spool/hostPath/path': '/' does not match pattern"),
    ({"spool": {"hostPath": {"path": "/var/../etc"}}}, "at '/spool/hostPath/path'"),
    ({"metrics": {"port": 80}}, "at '/metrics/port': minimum: got 80, want 1,024"),
    ({"metrics": {"discovery": "both"}}, "must be one of 'annotations', 'podMonitor', 'none'"),
    ({"metrics": {"podMonitor": {"interval": 30}}}, "at '/metrics/podMonitor/interval': got number, want string"),
    ({"resources": {"limits": {"memory": "128 MB"}}}, "at '/resources/limits/memory'"),
    ({"resources": {"limit": {}}}, "at '/resources': additional properties 'limit' not allowed"),
    ({"priorityClass": {"value": 2000000000}}, "at '/priorityClass/value': maximum"),
    ({"nodeSelector": {"kubernetes.io/os": "windows"}}, "at '/nodeSelector/kubernetes.io~1os': value must be 'linux'"),
    ({"nodeSelector": {"gpu": True}}, "at '/nodeSelector/gpu': got boolean, want string"),
    ({"nodeMatchExpressions": [{"key": "a", "operator": "Is"}]}, "at '/nodeMatchExpressions/0/operator'"),
    ({"pools": ["Spot"]}, "at '/pools/0': 'Spot' does not match pattern"),
    ({"pools": ["spot", "spot"]}, "at '/pools': items at 0 and 1 are equal"),
    ({"tolerations": [{"operator": "Exist"}]}, "at '/tolerations/0/operator'"),
    ({"updateStrategy": {"maxUnavailable": "0%"}}, "at '/updateStrategy/maxUnavailable'"),
    ({"updateStrategy": {"maxUnavailable": 0}}, "at '/updateStrategy/maxUnavailable'"),
    ({"terminationGracePeriodSeconds": 5}, "minimum: got 5, want 6"),
    ({"probes": {"liveness": {"periodSeconds": 0}}}, "at '/probes/liveness/periodSeconds': minimum: got 0, want 1"),
    ({"podLabels": {"team": 7}}, "at '/podLabels/team': got number, want string"),
    ({"extraEnv": [{"name": "A"}]}, "at '/extraEnv/0': missing property 'value'"),
    ({"serviceAccount": {"create": "yes"}}, "at '/serviceAccount/create': got string, want boolean"),
    ({"access": {"viewers": {"groups": "all"}}}, "at '/access/viewers/groups': got string, want array"),
    ({"networkPolicy": {"eventHubs": {"cidrs": ["10.1.2.4"]}}}, "at '/networkPolicy/eventHubs/cidrs/0'"),
    ({"networkPolicy": {"eventHubs": {"cidrs": []}}}, "minItems: got 0, want 1"),
    ({"networkPolicy": {"eventHubs": {"ports": [0]}}}, "at '/networkPolicy/eventHubs/ports/0': minimum: got 0, want 1"),
    ({"networkPolicy": {"ingressFrom": [{"cidr": "10.0.0.0/8"}]}}, "additional properties 'cidr' not allowed"),
    ({"tests": {"enabled": 1}}, "at '/tests/enabled': got number, want boolean"),
]

RULES_BETWEEN_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"image": {"repository": ""}}, "image.repository must be set: where you pushed the image"),
    ({"agent": {"cluster": ""}}, "agent.cluster must be set"),
    (WITHOUT_IDENTITY, "nothing says where to publish: set eventHubs.fullyQualifiedNamespace"),
    ({"eventHubs": {"connectionString": KEY}}, "only one of eventHubs.fullyQualifiedNamespace"),
    ({"eventHubs": {"existingSecret": {"name": "a"}}}, "only one of eventHubs.fullyQualifiedNamespace"),
    (
        merged(WITHOUT_IDENTITY, {"eventHubs": {"connectionString": KEY, "existingSecret": {"name": "a"}}}),
        "only one of eventHubs.fullyQualifiedNamespace",
    ),
    (
        merged(WITHOUT_IDENTITY, {"eventHubs": {"connectionString": "SharedAccessKey=secret"}}),
        "eventHubs.connectionString must be like Endpoint=sb://HOST/",
    ),
    ({"workloadIdentity": {"clientId": ""}}, "needs workloadIdentity.clientId: the client id"),
    (
        merged(
            merged(WITHOUT_IDENTITY, {"eventHubs": {"connectionString": KEY}}),
            {"workloadIdentity": GOOD["workloadIdentity"]},
        ),
        "workloadIdentity.clientId is of no use without eventHubs.fullyQualifiedNamespace",
    ),
    (
        merged(
            merged(GOOD, WITHOUT_IDENTITY), {"workloadIdentity": {"tenantId": GOOD["workloadIdentity"]["tenantId"]}}
        ),
        "workloadIdentity.tenantId is of no use without workloadIdentity.clientId",
    ),
    ({"eventHubs": {"name": ""}}, "eventHubs.name must be set"),
    *(
        (
            {"agent": {name: {"include": "a", "exclude": "b"}}},
            f"agent.{name}.include and agent.{name}.exclude are both set; set the first to name what is wanted",
        )
        for name in ("disk", "mount", "fsType", "net")
    ),
    ({"agent": {"sampleInterval": 31}}, "agent.publishInterval must be at least agent.sampleInterval (31 s), got 30"),
    (
        {"agent": {"sampleInterval": 0.1, "publishInterval": 60.05}},
        "at most 600 times agent.sampleInterval (0.1 s), got 60.05",
    ),
    ({"serviceAccount": {"create": False}}, "serviceAccount.name must be set where serviceAccount.create is false"),
    ({"priorityClass": {"create": True}}, "must not begin with system-"),
    (
        {"priorityClass": {"create": True, "name": ""}},
        "priorityClass.name must be set where priorityClass.create is true",
    ),
    ({"extraEnv": [{"name": "AGENT_POOL", "value": "a"}]}, "extraEnv must not set AGENT_POOL"),
    ({"extraEnv": [{"name": "EVENTHUB_NAME", "value": "a"}]}, "extraEnv must not set EVENTHUB_NAME"),
    ({"extraEnv": [{"name": "NODE_NAME", "value": "a"}]}, "extraEnv must not set NODE_NAME"),
    ({"podLabels": {"app.kubernetes.io/name": "a"}}, "podLabels must not set app.kubernetes.io/name"),
    ({"podLabels": {"azure.workload.identity/use": "a"}}, "podLabels must not set azure.workload.identity/use"),
    ({"podAnnotations": {"prometheus.io/scrape": "false"}}, "podAnnotations must not set prometheus.io/scrape"),
    (
        {"serviceAccount": {"annotations": {"azure.workload.identity/client-id": "a"}}},
        "serviceAccount.annotations must not set azure.workload.identity/client-id; set workloadIdentity",
    ),
    (
        {"nodeMatchExpressions": [{"key": "a", "operator": "In"}]},
        "nodeMatchExpressions: a must have values with the operator In",
    ),
    (
        {"nodeMatchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
        "nodeMatchExpressions: a must have no values with the operator Exists",
    ),
]


@pytest.mark.parametrize(("changes", "message"), SINGLE_VALUES, ids=[str(changes)[:60] for changes, _ in SINGLE_VALUES])
def test_a_wrong_value_is_refused_by_its_path(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(changes)


@pytest.mark.parametrize(
    ("changes", "message"), RULES_BETWEEN_VALUES, ids=[message[:60] for _, message in RULES_BETWEEN_VALUES]
)
def test_values_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(changes)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ChartRefuses) as raised:
        render({})

    said = str(raised.value)
    assert [part for part in ("image.repository", "agent.cluster", "where to publish") if part not in said] == []


def test_no_refusal_repeats_the_key_of_a_connection_string() -> None:
    contradictory = {"eventHubs": {"connectionString": KEY, "existingSecret": {"name": "a"}}}
    malformed = merged(WITHOUT_IDENTITY, {"eventHubs": {"connectionString": KEY.replace("sb://", "https://")}})

    assert "SharedAccessKey=secret" in KEY
    assert "SharedAccessKey=secret" not in refusal(contradictory) + refusal(malformed)


def test_good_values_are_not_refused() -> None:
    assert render(GOOD)
    assert render(merged(GOOD, {"agent": {"sampleInterval": 0.1, "publishInterval": 60}}))
    assert render(merged(GOOD, {"global": {"of": "a parent chart"}, "resources": {"limits": {"cpu": None}}}))
