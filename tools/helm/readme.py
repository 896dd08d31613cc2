"""Writes helm/devops-monitor/README.md from the comments in values.yaml, or says whether it is stale.

    python tools/helm/readme.py            write it
    python tools/helm/readme.py --check    exit code 1 if it is stale

A value's comment begins with `# -- `. A mapping whose comment stands above it is one row; without one, its members are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).resolve().parents[2] / "helm/devops-monitor"

INTRODUCTION = """\
# devops-monitor

{description}
Chart {version}, agent {app_version}, Kubernetes {kube_version}. Checked by `make helm-check`; never installed in a
cluster yet ([what was never tried](../../docs/unverified.md#kubernetes)).

    helm install devops-monitor helm/devops-monitor --namespace devops-monitor --create-namespace \\
      --set image.repository=REGISTRY.azurecr.io/devops-monitor/agent \\
      --set agent.cluster=CLUSTER \\
      --set eventHubs.fullyQualifiedNamespace=NAMESPACE.servicebus.windows.net \\
      --set workloadIdentity.clientId=CLIENT_ID

Step by step, on AKS, kind and minikube: [docs/kubernetes.md](../../docs/kubernetes.md). Whole examples: [ci](ci),
[local-values.yaml](local-values.yaml).

Wrong values are refused before anything is installed: single ones by `values.schema.json`, contradictory ones by
`templates/_validate.tpl`. What the agent does with its settings: [docs/settings.md](../../docs/settings.md).

## Values

Generated from `values.yaml` by `make generated`.

| Value | Default | Meaning |
|---|---|---|
"""


class Row(NamedTuple):
    """One line of the table."""

    path: str
    default: str
    meaning: str


class UncommentedValue(Exception):
    """A value has no comment, neither of its own nor above it."""


def main(arguments: list[str] | None = None) -> int:
    """Write or check README.md; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the file is stale")
    check = parser.parse_args(arguments).check
    target, text = CHART / "README.md", readme(CHART)
    if not check:
        target.write_text(text)
    elif not target.exists() or target.read_text() != text:
        print(f"{target} is stale; run `make generated` and commit it", file=sys.stderr)
        return 1
    return 0


def readme(chart: Path) -> str:
    """Gives the text of the chart's README.md."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    introduction = INTRODUCTION.format(
        description=about["description"],
        version=about["version"],
        app_version=about["appVersion"],
        kube_version=about["kubeVersion"],
    )
    rows = values_table((chart / "values.yaml").read_text())
    return introduction + "".join(f"| `{row.path}` | {row.default} | {row.meaning} |\n" for row in rows)


def values_table(text: str) -> list[Row]:
    """Gives a row for every value, in the order of the file. Raises UncommentedValue, naming all without a comment."""
    comments = dict(_comments(text))
    rows, missing = [], []
    for path, value in _leaves(yaml.safe_load(text), comments):
        if path in comments:
            default = "" if value in ("", None) else f"`{value if isinstance(value, str) else json.dumps(value)}`"
            rows.append(Row(path, default, comments[path].replace("|", "\\|")))
        else:
            missing.append(path)
    if missing:
        raise UncommentedValue(f"values.yaml has no '# -- ' comment for {', '.join(missing)}; write one")
    return rows


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """Yields path and comment of every key that has one; reads mappings in block style only."""
    comment: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#") and comment:
            comment.append(stripped.removeprefix("#").strip())
        elif stripped and not stripped.startswith(("#", "-")):
            indent, key = len(line) - len(line.lstrip()), stripped.split(":")[0]
            parents = [parent for parent in parents if parent[0] < indent]
            parents.append((indent, key))
            if comment:
                yield ".".join(name for _, name in parents), " ".join(comment)
            comment = []
        else:
            comment = []


def _leaves(value: Any, comments: dict[str, str], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields what gets a row: what has a comment, and everything that is no mapping with members."""
    if path in comments or not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, member in value.items():
        yield from _leaves(member, comments, f"{path}.{key}" if path else key)


if __name__ == "__main__":
    sys.exit(main())
