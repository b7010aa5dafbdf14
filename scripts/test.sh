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
# Two at a time, three of the slow ones, which wait for a third of their time; a file in one process.
# Every Ray has ports and folders of its own. What measures time or stops all Rays goes alone.
case " $* " in
  *" -m "*) ;;
  *) exec python -m pytest -n 2 --dist loadfile "$@" ;;
esac
case " $* " in
  *" -m slow "*) ;;
  *) exec python -m pytest "$@" ;;
esac
# pytest ends with 5 where none of the tests that were asked for is of that kind
code=0 found=5
for kind in "slow and not alone" "slow and alone"; do
  n=3
  [ "$kind" = "slow and not alone" ] || n=0
  ended=0
  python -m pytest "$@" -m "$kind" -n $n --dist loadfile --no-loadscope-reorder || ended=$?
  case $ended in
    0) found=0 ;;
    5) ;;
    *) code=$ended ;;
  esac
done
[ $code != 0 ] || code=$found
exit $code
