#!/bin/sh
# Fills an environment with the pins of pyproject.toml, for the Makefile: `requirements/install.sh [EXTRA,EXTRA [FOLDER]]`.
#   PYTHON  the interpreter, 3.11 to 3.14; by default uv's 3.11, or the first that is found
#   TORCH   what to install as torch first: a wheel, or a requirement with options of pip
#   UV      uv, by default where it is installed; empty: pip
set -eu
cd "$(dirname "$0")/.."
venv=${2:-.venv}
extras=${1:+[$1]}
torch=$(sed -n 's/^ *"torch==\(.*\)",.*/\1/p' pyproject.toml)
: "${UV=$(command -v uv || true)}"

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }
has_torch() { "$1" -c "from importlib.metadata import version as v; exit(v('torch').split('+')[0] != '$torch')" 2>/dev/null; }

if [ ! -x "$venv/bin/python" ]; then
    found=
    for python in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
        if fits "$python"; then found=$python && break; fi
    done
    if [ -n "$found" ] && [ -z "${TORCH:-}" ] && has_torch "$found"; then
        echo "torch $torch of $found is kept: $venv sees the packages of that interpreter."
        "$found" -m venv --system-site-packages "$venv"
    elif [ -n "$UV" ]; then
        "$UV" venv --quiet --seed --python "${PYTHON:-3.11}" "$venv"
    elif [ -n "$found" ]; then
        "$found" -m venv "$venv"
    else
        echo "Python 3.11 to 3.14 is needed. Install uv, which brings one, or name yours: make PYTHON=/path/to/python3.12" >&2
        exit 1
    fi
fi

# uv would not see a torch outside, and would fetch another.
if [ -n "$UV" ] && ! grep -q "include-system-site-packages = true" "$venv/pyvenv.cfg"; then
    by=uv
    add() { "$UV" pip install --quiet --python "$venv/bin/python" "$@"; }
else
    by=pip
    add() { "$venv/bin/python" -m pip install --quiet "$@"; }
fi
free=$(df -Pk . | awk 'NR == 2 { printf "%.0f", $4 / 1048576 }')
echo "Installing into $venv by $by: 2.5 GB, or 7 GB where torch comes with CUDA (Linux's default); $free GB are free."
# shellcheck disable=SC2086  # TORCH may hold options
[ -z "${TORCH:-}" ] || add $TORCH
add -e ".$extras"
