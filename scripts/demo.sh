#!/usr/bin/env bash
# Installs what is missing and runs the demonstration: bash scripts/demo.sh [run directory]
source "$(dirname "${BASH_SOURCE[0]}")/install.sh" ""
exec octoscope demo --out "${1:-demo-run}"
