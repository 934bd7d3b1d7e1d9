#!/bin/sh
# Makes .venv with what Aureus needs: finds a Python that really runs, installs the pinned, hashed requirements.
# Usage: deploy/bootstrap.sh [dev | --which]       PYTHON=/path/to/python names the interpreter; --which only prints it.
# A second call with unchanged requirements does nothing.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
requirements=$root/requirements.txt
[ "${1:-}" = dev ] && requirements=$root/requirements-dev.txt
venv=$root/.venv
stamp=$venv/.aureus-installed

# Prints "major.minor" if $1 runs, has what we need and is new enough. A shim that only prints an error does not count.
version_of() {
    "$1" -c 'import sys, ssl, venv, ensurepip
if sys.version_info >= (3, 12): print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null || true
}

candidates() {
    for version in 3.13 3.12 3.14; do
        command -v "python$version" || true
    done
    for version in 3.13 3.12 3.14; do
        for folder in "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}/versions" \
            "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-/nonexistent}/.local/share}/uv/python}"; do
            for found in "$folder"/*"$version"*/bin/python3; do
                [ -x "$found" ] && printf '%s\n' "$found"
            done
        done
    done
    command -v python3 || true
    command -v python || true
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if [ -z "$(version_of "$PYTHON")" ]; then
            printf 'PYTHON=%s is no Python >= 3.12 with ssl and venv; name another one.\n' "$PYTHON" >&2
            return 1
        fi
        printf '%s\n' "$PYTHON"
        return
    fi
    candidates | while IFS= read -r candidate; do
        if [ -n "$(version_of "$candidate")" ]; then
            printf '%s\n' "$candidate"
            break
        fi
    done
}

demand_python() {
    python=$(find_python)
    if [ -z "$python" ]; then
        echo "Aureus needs Python 3.12 or newer with ssl and venv: install it (Debian and Ubuntu: apt install python3 python3-venv; elsewhere: python.org, pyenv or uv) or set PYTHON=/path/to/python." >&2
        exit 1
    fi
}

if [ "${1:-}" = --which ]; then
    demand_python
    printf '%s\n' "$python"
    exit 0
fi

digest() {
    { cat "$requirements"; sed '/^\[tool/,$d' "$root/pyproject.toml"; } | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d' ' -f1
}

# What was installed for development serves for running too.
wanted=$(digest)
if [ -f "$stamp" ] && grep -qx "$wanted" "$stamp" && [ -n "$(version_of "$venv/bin/python")" ]; then
    exit 0
fi

if [ -z "$(version_of "$venv/bin/python")" ]; then
    demand_python
    echo "Making .venv with $python ($(version_of "$python"))"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

echo "Installing $(grep -c '^[a-zA-Z0-9].*==' "$requirements") pinned packages (about a minute the first time)"
install() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --progress-bar off "$@" </dev/null
}
# uv, pinned among the development tools, installs the rest in seconds instead of a minute.
sed -n '/^uv==/,/[^\\]$/p' "$root/requirements-dev.txt" >"$venv/uv.txt"
if install --require-hashes -r "$venv/uv.txt" &&
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$requirements" 2>/dev/null; then
    :
else
    install --require-hashes -r "$requirements"
fi
install --no-deps --no-build-isolation --editable "$root"

{ digest; if [ "${1:-}" = dev ]; then requirements=$root/requirements.txt; digest; fi; } >"$stamp"
echo "Installed."
