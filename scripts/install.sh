#!/usr/bin/env bash
# Prepares the Python environment for the commands of the README; called by demo.sh and test.sh.
#   source scripts/install.sh [extra]   beside the extra `run`, which a run needs
# Uses the active virtual environment, or makes .venv. Installs nothing when it is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
EXTRA="${1:-}"

if [ -z "${VIRTUAL_ENV:-}" ]; then
  PYTHON="${PYTHON:-python3}"
  "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "Python 3.11 to 3.13 is needed; set PYTHON=/path/to/python3.11" >&2
    exit 1
  }
  [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
  # shellcheck disable=SC1091
  source .venv/bin/activate
fi

STAMP="$VIRTUAL_ENV/.octoscope-$(cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)${EXTRA:+-$EXTRA}"
if [ ! -e "$STAMP" ]; then
  python -m pip install --quiet --upgrade "pip>=24"
  # With bytecode: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each process would
  # compile it again (4 s of CPU).
  # Linux wheels of torch on the public index carry CUDA; --extra-index-url or PIP_* variables
  # choose a CPU build where one is wanted (README, Installing).
  python -m pip install --quiet -c constraints.txt -e ".[run${EXTRA:+,$EXTRA}]"
  touch "$STAMP"
fi
