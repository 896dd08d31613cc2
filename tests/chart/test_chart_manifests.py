"""Every values file that comes with the chart gives manifests that Helm and three versions of Kubernetes accept."""

from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest

from tools.helm.render import CHART, NAMESPACE, load_values, merged, render, render_texts, values_files

KUBERNETES = ("1.32.0", "1.35.0", "1.37.0")
"""The oldest that the chart takes, and the newest whose schema there is."""
CUSTOM_KINDS = {"PodMonitor"}
"""Kinds of other people's operators, whose schemas are not Kubernetes'."""

every_values_file = pytest.mark.parametrize("path", values_files(), ids=lambda path: path.stem)


def complaints(manifest: dict[str, Any], version: str) -> str:
    """What Kubernetes of this version has against a manifest; unknown kinds are a complaint."""
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return f"{manifest['kind']}: {error.message}"  # str() of the latter is empty
    return ""


@every_values_file
@pytest.mark.parametrize("version", KUBERNETES)
def test_lint_has_nothing_to_say(path: Path, version: str) -> None:
    report = helm_python.lint(
        str(CHART), load_values(path), strict=True, kube_version=f"v{version}", namespace=NAMESPACE
    )

    said = [message for message in report["messages"] if message["error"] != "icon is recommended"]
    assert (report["errors"], said) == ([], [])


@every_values_file
@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_fit_the_strict_schemas_of_kubernetes(path: Path, version: str) -> None:
    manifests = [each for each in render(load_values(path)) if each["kind"] not in CUSTOM_KINDS]

    assert "DaemonSet" in {each["kind"] for each in manifests}
    assert [found for each in manifests if (found := complaints(each, version))] == []


def test_schemas_find_unknown_fields_and_unknown_kinds() -> None:
    manifest = next(each for each in render(load_values(values_files()[0])) if each["kind"] == "ConfigMap")

    assert complaints(manifest, KUBERNETES[-1]) == ""
    assert "'dta' was unexpected" in complaints({**manifest, "dta": {}}, KUBERNETES[-1])
    assert "find schema for kind ConfigMup" in complaints({**manifest, "kind": "ConfigMup"}, KUBERNETES[-1])


@every_values_file
def test_notes_are_rendered_without_gaps(path: Path) -> None:
    notes = render_texts(load_values(path))["NOTES.txt"]

    assert "rollout status daemonset" in notes
    assert [gap for gap in ("<no value>", "%!", "<nil>") if gap in notes] == []


@every_values_file
def test_names_of_resources_are_valid_and_used_once(path: Path) -> None:
    manifests = render(load_values(path))

    identities = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(identities) == len(set(identities))
    assert [name for _, name in identities if len(name) > 63] == []


def test_long_names_are_cut_so_that_every_resource_can_exist() -> None:
    values = merged(load_values(CHART / "ci/pools-values.yaml"), {"nameOverride": "n" * 50, "pools": ["p" * 12]})

    names = [each["metadata"]["name"] for each in render(values) if each["kind"] == "DaemonSet"]

    assert len(names) == 2
    assert max(map(len, names)) <= 63


def test_a_change_of_settings_rolls_the_pods() -> None:
    values = load_values(CHART / "local-values.yaml")

    def checksum(**changes: Any) -> str:
        daemon_set = next(each for each in render(merged(values, changes)) if each["kind"] == "DaemonSet")
        return daemon_set["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    other_key = values["eventHubs"]["connectionString"].replace("SAS_KEY_VALUE", "another")

    assert checksum() == checksum()
    assert checksum() != checksum(agent={"sampleInterval": 3})
    assert checksum() != checksum(eventHubs={"connectionString": other_key})
