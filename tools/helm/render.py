"""The chart rendered by Helm's own library: `helm template` for those who have no helm. For the chart's tests too.

python tools/helm/render.py helm/devops-monitor/ci/identity-values.yaml [--set-json '{"agent": {"pool": "a"}}']
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm/devops-monitor"
RELEASE = "release"
NAMESPACE = "telemetry"
NOTES = "NOTES.txt"

Manifest = dict[str, Any]


class ChartRefuses(Exception):
    """The chart does not take these values; the text is what Helm shows to a person."""


def main() -> int:
    """Print the manifests as one YAML stream; exit code 1 and Helm's words where the values are refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", type=Path)
    parser.add_argument("--set-json", type=json.loads, default={}, help="values on top, as a JSON object")
    options = parser.parse_args()
    try:
        manifests = render(merged(load_values(options.values), options.set_json))
    except ChartRefuses as refusal:
        print(refusal, file=sys.stderr)
        return 1
    yaml.safe_dump_all(manifests, sys.stdout, sort_keys=False)
    return 0


def values_files() -> list[Path]:
    """Gives the values files that come with the chart."""
    return [*sorted((CHART / "ci").glob("*-values.yaml")), CHART / "local-values.yaml"]


def load_values(path: Path) -> dict[str, Any]:
    """Reads a values file."""
    values: dict[str, Any] = yaml.safe_load(path.read_text())
    return values


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Gives values with changes on top, as `helm -f values -f changes` has it: mappings are merged, lists replaced."""
    result = dict(values)
    for key, change in changes.items():
        before = result.get(key)
        result[key] = merged(before, change) if isinstance(before, Mapping) and isinstance(change, Mapping) else change
    return result


def render_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Gives the rendered text of every template by its name below templates/. Raises ChartRefuses."""
    try:
        with helm_python.Chart.load(CHART) as chart:
            texts = chart.render(dict(values), name=RELEASE, namespace=NAMESPACE)
    except helm_python.HelmError as error:
        raise ChartRefuses(str(error)) from error
    return {name.partition("/templates/")[2]: text for name, text in texts.items()}


def render(values: Mapping[str, Any]) -> list[Manifest]:
    """Gives every manifest, hooks included. Raises ChartRefuses, also for YAML that says a key twice."""
    manifests: list[Manifest] = []
    for name, text in sorted(render_texts(values).items()):
        if name.endswith(".yaml"):
            manifests.extend(manifest for manifest in yaml.load_all(text, _NoDuplicates) if manifest)
    return manifests


class _NoDuplicates(yaml.SafeLoader):
    """A loader that refuses a mapping with a key twice, as Kubernetes does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise ChartRefuses(f"a key is there twice:\n{node.start_mark}")
        return mapping


if __name__ == "__main__":
    sys.exit(main())
