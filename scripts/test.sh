#!/usr/bin/env bash
# Installs what is missing and runs the tests: bash scripts/test.sh [pytest arguments]
# The browser test needs Chromium; as root on Debian it is installed from the system's packages.
source "$(dirname "${BASH_SOURCE[0]}")/install.sh" test
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null \
  && ! command -v google-chrome >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq chromium >/dev/null
  else
    echo "Chromium is needed for the report's browser test: install it from your system" >&2
    exit 1
  fi
fi
# Two at a time, a file in one process: tests wait for Ray to start more than they compute.
# Slow ones start clusters, of which a machine holds one at a time.
case " $* " in
  *" slow "*) ;;
  *) set -- -n 2 --dist loadfile "$@" ;;
esac
exec python -m pytest "$@"
