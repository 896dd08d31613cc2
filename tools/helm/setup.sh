#!/usr/bin/env bash
# Adds to .venv what checking the chart needs (tools/helm/requirements.txt). Does nothing where it is there. Run by `make`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly STAMP=.venv/.installed-helm
wanted=$(cat .venv/.installed tools/helm/setup.sh tools/helm/requirements.txt constraints.txt | cksum)
if [[ -f $STAMP && $(cat "$STAMP") == "$wanted" ]]; then exit; fi
echo "Adding Helm's library and the schemas of Kubernetes' API to .venv: 350 MB, once"
.venv/bin/python -m pip install --disable-pip-version-check --no-input --quiet -r tools/helm/requirements.txt -c constraints.txt
printf '%s\n' "$wanted" >"$STAMP"
