"""What the rendered pods may: nothing but read the node, whichever values are given."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.helm.render import CHART, Manifest, load_values, merged, render, values_files

AGENT_UID = 10001

every_values_file = pytest.mark.parametrize("path", values_files(), ids=lambda path: path.stem)
IDENTITY = load_values(CHART / "ci/identity-values.yaml")
KUBERNETES = load_values(CHART / "ci/kubernetes-collector-values.yaml")
HOST_PATH = load_values(CHART / "ci/hostpath-spool-values.yaml")


def kinds(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def pods(manifests: list[Manifest]) -> Iterator[dict[str, Any]]:
    """The specification of every pod: those of the DaemonSets and that of `helm test`."""
    yield from (each["spec"]["template"]["spec"] for each in kinds(manifests, "DaemonSet"))
    yield from (each["spec"] for each in kinds(manifests, "Pod"))


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@every_values_file
def test_pods_run_as_nobody_in_particular_with_a_seccomp_profile(path: Path) -> None:
    for pod in pods(render(load_values(path))):
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": AGENT_UID,
            "runAsGroup": AGENT_UID,
            "fsGroup": AGENT_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        }


@every_values_file
def test_containers_have_no_capability_and_a_read_only_root(path: Path) -> None:
    hardened = {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }

    for pod in pods(render(load_values(path))):
        for container in containers(pod):
            if container["name"] != "spool-owner":
                assert container["securityContext"] == hardened


@every_values_file
def test_pods_share_no_namespace_with_the_node(path: Path) -> None:
    for pod in pods(render(load_values(path))):
        assert (pod["hostNetwork"], pod["hostPID"], pod["hostIPC"]) == (False, False, False)
        assert [port for each in containers(pod) for port in each.get("ports", []) if "hostPort" in port] == []
        assert pod["enableServiceLinks"] is False


@every_values_file
def test_the_node_is_mounted_read_only_and_follows_its_mounts(path: Path) -> None:
    for pod in pods(render(load_values(path))):
        of_node = {
            each["name"]: each["hostPath"]["path"]
            for each in pod["volumes"]
            if "hostPath" in each and each["name"] != "spool"
        }
        mounts = [mount for each in containers(pod) for mount in each["volumeMounts"] if mount["name"] in of_node]

        assert of_node.items() <= {"proc": "/proc", "sys": "/sys", "root": "/"}.items()
        assert mounts
        assert {(each["readOnly"], each["mountPropagation"]) for each in mounts} == {(True, "HostToContainer")}


@every_values_file
def test_every_container_has_requests_and_a_limit_of_memory(path: Path) -> None:
    for pod in pods(render(load_values(path))):
        for container in containers(pod):
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@every_values_file
def test_no_secret_is_in_anything_but_a_secret(path: Path) -> None:
    manifests = render(load_values(path))

    assert [each["kind"] for each in manifests if "SharedAccessKey=" in str(each) and each["kind"] != "Secret"] == []


def test_the_root_of_the_node_is_mounted_only_for_the_collector_that_reads_it() -> None:
    def mounts_root(collectors: list[str]) -> set[bool]:
        manifests = render(merged(IDENTITY, {"agent": {"collectors": collectors}}))
        told = "AGENT_ROOTFS" in kinds(manifests, "ConfigMap")[0]["data"]
        return {told, *(any(each["name"] == "root" for each in pod["volumes"]) for pod in pods(manifests))}

    assert mounts_root(["default"]) == {True}
    assert mounts_root(["cpu", "filesystem"]) == {True}
    assert mounts_root(["cpu", "memory"]) == {False}


def test_a_token_of_the_cluster_is_in_the_pod_only_for_the_kubernetes_collector() -> None:
    without, with_it = render(IDENTITY), render(KUBERNETES)

    assert {pod["automountServiceAccountToken"] for pod in pods(without)} == {False}
    assert {pod["automountServiceAccountToken"] for pod in pods(with_it)} == {True}
    assert {each["automountServiceAccountToken"] for each in kinds(with_it, "ServiceAccount")} == {False}


def test_workload_identity_marks_pods_and_service_account() -> None:
    manifests = render(IDENTITY)

    (daemon_set,) = kinds(manifests, "DaemonSet")
    (account,) = kinds(manifests, "ServiceAccount")
    (test_pod,) = kinds(manifests, "Pod")
    assert daemon_set["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert test_pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert account["metadata"]["annotations"] == {
        "azure.workload.identity/client-id": IDENTITY["workloadIdentity"]["clientId"],
        "azure.workload.identity/tenant-id": IDENTITY["workloadIdentity"]["tenantId"],
    }
    assert {pod["serviceAccountName"] for pod in pods(manifests)} == {account["metadata"]["name"]}


def test_a_connection_string_needs_no_identity() -> None:
    manifests = render(load_values(CHART / "ci/existing-secret-values.yaml"))

    (daemon_set,) = kinds(manifests, "DaemonSet")
    environment = daemon_set["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "azure.workload.identity/use" not in daemon_set["spec"]["template"]["metadata"]["labels"]
    assert "annotations" not in kinds(manifests, "ServiceAccount")[0]["metadata"]
    assert kinds(manifests, "Secret") == []
    assert {
        "name": "EVENTHUB_CONNECTION_STRING",
        "valueFrom": {"secretKeyRef": {"name": "event-hub", "key": "connection"}},
    } in environment


def test_a_host_path_spool_is_given_to_the_agent_by_a_container_that_can_do_only_that() -> None:
    (pod, _) = pods(render(HOST_PATH))

    (owner,) = pod["initContainers"]
    assert owner["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
        "runAsNonRoot": False,
        "runAsUser": 0,
    }
    assert owner["volumeMounts"] == [{"name": "spool", "mountPath": "/spool"}]
    assert f"os.chown('/spool', {AGENT_UID}, {AGENT_UID})" in owner["command"][-1]
    assert {"name": "spool", "hostPath": {"path": "/var/lib/devops-monitor/spool", "type": "DirectoryOrCreate"}} in pod[
        "volumes"
    ]


@pytest.mark.parametrize("spool", [{"type": "emptyDir"}, {"type": "hostPath", "hostPath": {"chown": False}}], ids=str)
def test_otherwise_nothing_runs_as_root(spool: dict[str, Any]) -> None:
    for pod in pods(render(merged(IDENTITY, {"spool": spool}))):
        assert "spool-owner" not in [each["name"] for each in containers(pod)]


def test_an_empty_dir_holds_four_times_the_bytes_of_the_spool() -> None:
    (pod, _) = pods(render(merged(IDENTITY, {"spool": {"maxBytes": 100_000}})))

    assert {"name": "spool", "emptyDir": {"sizeLimit": "400000"}} in pod["volumes"]
