#!/usr/bin/env bash
# Makes a build base for agent/Dockerfile where no registry can be reached: Debian 12 by debootstrap, from the mirror that
# apt uses, with this machine's CPython 3.13 in /usr/local. It stands in for the official image of the same name, for
# building and testing; what goes to a registry is built on the official one, which gets security updates.
# Usage, as root: tools/image/make_base.sh [IMAGE]. Kept in .local/image/base; at once where it is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly IMAGE=${1:-docker.io/library/python:3.13-slim-bookworm}
readonly SUITE=bookworm
# Besides debootstrap's smallest set: what CPython's extension modules are linked to, as in the official image.
readonly PACKAGES=ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,zlib1g
readonly CACHE=.local/image/base
readonly LABEL=devops-monitor.base

fail() { printf 'make_base: %s\n' "$*" >&2; exit 1; }

check_machine() {
    [[ $(id -u) == 0 ]] || fail "debootstrap needs root"
    command -v debootstrap >/dev/null || fail "debootstrap is missing; apt-get install debootstrap"
    # CPython is copied, and runs only beside the C library and the OpenSSL it was linked to.
    [[ $(. /etc/os-release && echo "$ID $VERSION_CODENAME") == "debian $SUITE" ]] ||
        fail "this machine must be Debian 12 ($SUITE), it is $(. /etc/os-release && echo "$PRETTY_NAME"); elsewhere pull $IMAGE"
}

find_engine() {
    local engine
    for engine in podman docker; do
        if "$engine" info >/dev/null 2>&1; then printf '%s\n' "$engine"; return; fi
    done
    fail "neither podman nor docker works here; apt-get install podman"
}

# The prefix of a CPython 3.13 that was built from source (pyenv): one in /usr belongs to the system and cannot be copied.
find_python() {
    local python=.venv/bin/python prefix
    [[ -x $python ]] || fail "no .venv here; make setup"
    prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
    [[ $prefix != /usr ]] || fail "CPython 3.13 is the system's own ($prefix); make .venv from one of pyenv: make setup PYTHON=..."
    printf '%s\n' "$prefix"
}

# The mirror apt takes this suite from, whichever that is on this machine.
find_mirror() {
    local mirror
    # shellcheck disable=SC2016 # these are apt's variables
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite="$SUITE" '$2 == suite && $3 == "main" {print $1; exit}')
    [[ $mirror == http://* || $mirror == https://* ]] || fail "apt has no http mirror for $SUITE main, got '$mirror'; run apt-get update"
    printf '%s\n' "$mirror"
}

bootstrap() {
    local root=$1 proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    http_proxy=${proxy:-${http_proxy:-}} debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$root" "$(find_mirror)" \
        >"$CACHE/debootstrap.log" 2>&1 || { tail -n 20 "$CACHE/debootstrap.log" >&2; fail "debootstrap failed; see $CACHE/debootstrap.log"; }
    # As the official image does: what no container needs.
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{man,locale,info}/* "$root"/var/log/*
    find "$root/usr/share/doc" -type f ! -name copyright -delete
}

copy_python() {
    local prefix=$1 root=$2
    mkdir -p "$root/usr/local"
    tar -C "$prefix" -c --exclude=__pycache__ --exclude='lib/python3.13/config-*' --exclude=lib/python3.13/idlelib \
        --exclude=lib/python3.13/site-packages --exclude=lib/python3.13/test --exclude=lib/python3.13/tkinter --exclude='_tkinter*.so' \
        bin/python3.13 lib/python3.13 $(cd "$prefix" && find lib -maxdepth 1 -name 'libpython3*.so*') | tar -C "$root/usr/local" -x
    ln -sf python3.13 "$root/usr/local/bin/python3"
    if command -v strip >/dev/null; then
        find "$root/usr/local" \( -name '*.so*' -o -name python3.13 \) -type f -exec strip --strip-unneeded {} +
    else
        echo "make_base: binutils are missing, so CPython keeps its debug symbols and the image gets some 40 MiB larger" >&2
    fi
    chroot "$root" ldconfig
    chroot "$root" /usr/local/bin/python3.13 -m ensurepip >/dev/null 2>&1 || fail "CPython of $prefix does not run in the base"
}

main() {
    local engine prefix stamp root began=$SECONDS
    check_machine
    prefix=$(find_python)
    engine=$(find_engine)
    stamp=$({ cat "${BASH_SOURCE[0]}"; "$prefix/bin/python3.13" -VV; } | cksum | cut -d ' ' -f 1)
    if [[ $("$engine" image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$IMAGE" 2>/dev/null) == "$stamp" ]]; then
        echo "$IMAGE is up to date"
        return
    fi
    mkdir -p "$CACHE"
    if [[ ! -f $CACHE/$stamp.tar ]]; then
        echo "Making a Debian $SUITE with $("$prefix/bin/python3.13" -V) (half a minute to two)"
        root=$(mktemp -d)
        # shellcheck disable=SC2064 # this directory, even when the function has been left
        trap "rm -rf --one-file-system '$root'" EXIT
        chmod 755 "$root"
        bootstrap "$root"
        copy_python "$prefix" "$root"
        rm -f "$CACHE"/*.tar
        tar -C "$root" --one-file-system -cf "$CACHE/unfinished" .
        mv "$CACHE/unfinished" "$CACHE/$stamp.tar"
    fi
    "$engine" import --change "LABEL $LABEL=$stamp" --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' --change 'CMD ["python3.13"]' \
        "$CACHE/$stamp.tar" "$IMAGE" >"$CACHE/import.log" 2>&1 || { cat "$CACHE/import.log" >&2; fail "$engine import failed"; }
    echo "Made $IMAGE in $((SECONDS - began)) s"
}

main "$@"
