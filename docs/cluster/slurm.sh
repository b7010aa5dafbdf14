#!/bin/bash
# A run on Slurm: sbatch docs/cluster/slurm.sh CONFIG RUN [--set a.b=c ...]
#
# Ray's head on the first node, a worker on each other one, then beside the head
#   octoscope run CONFIG --out RUN --steal [--set a.b=c ...]
# RUN, CONFIG, checkpoints and this environment must lie where all nodes see them. Two minutes before
# the time limit the run is asked to stop (execution.advanced.grace, 60 s by default, must be less), and the
# job is queued again; the same command then continues. --steal: a node may have died.
#
# Sites differ: set partition, account and GPUs on the command line (sbatch --partition=... ).
# Started with stand-ins for srun and scontrol (tests/cluster/test_slurm.py); not run on Slurm.
#
#SBATCH --job-name=octoscope
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail

CONFIG="${1:?usage: sbatch slurm.sh CONFIG RUN [--set a.b=c ...]}"
RUN="${2:?usage: sbatch slurm.sh CONFIG RUN [--set a.b=c ...]}"
shift 2
# Settings; sbatch hands the environment of the login node on unless --export says otherwise.
SHARED="${OCTOSCOPE_SHARED:-${SLURM_SUBMIT_DIR:?}}"  # a directory that all nodes see
START_TIMEOUT="${OCTOSCOPE_START_TIMEOUT:-600}"      # seconds until all nodes must be there
RESTARTS="${OCTOSCOPE_RESTARTS:-20}"                 # times that the job may queue itself again
OBJECT_STORE="${OCTOSCOPE_OBJECT_STORE:-2000000000}" # bytes of shared memory per node
: "${SLURM_JOB_ID:?}" "${SLURM_JOB_NODELIST:?}" "${SLURM_JOB_NUM_NODES:?}"

say() { echo "octoscope: $*" >&2; }

# -- a token of this job's own, in a file that only its owner reads; Ray reads both variables
TOKEN_DIR="$(mktemp -d "$SHARED/.octoscope-$SLURM_JOB_ID.XXXXXX")"
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32))' > "$TOKEN_DIR/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$TOKEN_DIR/token"
unset RAY_AUTH_TOKEN # Ray would prefer it

# -- ports by the job's number, for nodes that are shared; what is not named here Ray picks itself
BASE=$((20000 + SLURM_JOB_ID % 2000 * 5))
export AUTOSCALER_METRIC_PORT=$((BASE + 2)) DASHBOARD_METRIC_PORT=$((BASE + 3))
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # else Ray 2.60 waits 30 s when it is stopped
export RAY_USAGE_STATS_ENABLED=0
TEMP="/tmp/octoscope-$SLURM_JOB_ID" # not /tmp/ray, which may be another user's
RAY_START=(ray start --block "--temp-dir=$TEMP" "--num-cpus=${SLURM_CPUS_PER_TASK:-1}"
  "--object-store-memory=$OBJECT_STORE" --dashboard-agent-listen-port=0)
# srun does not take --cpus-per-task over from sbatch
SRUN=(srun --ntasks-per-node=1 "--cpus-per-task=${SLURM_CPUS_PER_TASK:-1}")

STEPS=()
DRIVER=
STARTING= # between the start of a process and the note of its number
STOPPED=
CODE=1

cleanup() {
  trap '' TERM INT
  local step
  # only what was started here: `ray stop` would end every Ray on the node
  for step in ${DRIVER:+"$DRIVER"} "${STEPS[@]}"; do kill -TERM "$step" 2>/dev/null || true; done
  for _ in {1..60}; do
    kill -0 "${STEPS[@]}" 2>/dev/null || break
    sleep 0.5
  done
  for step in "${STEPS[@]}"; do kill -KILL "$step" 2>/dev/null || true; done
  rm -rf -- "$TOKEN_DIR"
  case "$CODE" in
    0 | 3 | 143)
      "${SRUN[@]}" "--nodes=$SLURM_JOB_NUM_NODES" "--ntasks=$SLURM_JOB_NUM_NODES" \
        rm -rf -- "$TEMP" || true
      ;;
    *) say "Ray's logs are in $TEMP of each node" ;;
  esac
}
trap cleanup EXIT

stop() {
  STOPPED=1
  if [ -n "$STARTING" ]; then return; fi # passed on as soon as the number is known
  if [ -n "$DRIVER" ]; then
    say "SIGTERM: the run finishes what it computes"
    kill -TERM "$DRIVER" 2>/dev/null || true
  else
    exit 143
  fi
}
trap stop TERM

# -- nodes
mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD="${NODES[0]}"
# By Ray's own rule; set it where nodes have several networks.
HEAD_IP="${OCTOSCOPE_HEAD_IP:-$("${SRUN[@]}" --nodes=1 --ntasks=1 --nodelist="$HEAD" \
  python -c 'import ray; print(ray.util.get_node_ip_address())')}"
export RAY_ADDRESS="$HEAD_IP:$BASE"

"${SRUN[@]}" --nodes=1 --ntasks=1 --nodelist="$HEAD" \
  "${RAY_START[@]}" --head "--node-ip-address=$HEAD_IP" "--port=$BASE" \
  "--ray-client-server-port=$((BASE + 1))" --include-dashboard=false &
STEPS+=($!)

DEADLINE=$((SECONDS + START_TIMEOUT))
until (exec 3<> "/dev/tcp/$HEAD_IP/$BASE") 2>/dev/null; do
  kill -0 "${STEPS[0]}" 2>/dev/null || { say "Ray's head did not start on $HEAD"; exit 1; }
  ((SECONDS < DEADLINE)) || { say "Ray's head is not there after $START_TIMEOUT s"; exit 1; }
  sleep 1
done

if ((SLURM_JOB_NUM_NODES > 1)); then
  others=$((SLURM_JOB_NUM_NODES - 1))
  "${SRUN[@]}" --nodes="$others" --ntasks="$others" --exclude="$HEAD" \
    "${RAY_START[@]}" "--address=$RAY_ADDRESS" &
  STEPS+=($!)
fi

# -- wait for all of them: a run on half of what was asked for would be slow without a word
STARTING=1
python - "$SLURM_JOB_NUM_NODES" "$((DEADLINE - SECONDS))" <<'PY' &
import sys
import time

import ray

wanted, until = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
there = 0
while there < wanted:
    try:
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="ERROR")
        there = sum(node["Alive"] for node in ray.nodes())
    except (ConnectionError, RuntimeError) as error:  # the head is still starting
        print(f"octoscope: {type(error).__name__}", file=sys.stderr)
    if there < wanted and time.monotonic() > until:
        sys.exit(f"octoscope: {there} of {wanted} nodes are there")
    if there < wanted:
        time.sleep(1)
PY
DRIVER=$!
STARTING=
if [ -n "$STOPPED" ]; then kill -TERM "$DRIVER" 2>/dev/null || true; fi
there=0
wait "$DRIVER" || there=$?
DRIVER=
if [ -n "$STOPPED" ]; then exit 143; fi
if ((there)); then exit 1; fi
say "$SLURM_JOB_NUM_NODES nodes at $RAY_ADDRESS"

# -- the run
STARTING=1
if [ -n "${OCTOSCOPE_COMMAND:-}" ]; then
  bash -c "exec $OCTOSCOPE_COMMAND" &
else
  octoscope run "$CONFIG" --out "$RUN" --steal "$@" &
fi
DRIVER=$!
STARTING=
if [ -n "$STOPPED" ]; then kill -TERM "$DRIVER" 2>/dev/null || true; fi
while kill -0 "$DRIVER" 2>/dev/null; do wait "$DRIVER" || true; done # a trap ends `wait` early
CODE=0
wait "$DRIVER" || CODE=$? # bash remembers it
DRIVER=
say "exit code $CODE"

# -- again, if it was stopped before it was done. Slurm ends this script then: clean up first.
if ((CODE == 143)); then
  cleanup
  trap - EXIT
  if ((${SLURM_RESTART_COUNT:-0} >= RESTARTS)); then
    say "queued again $RESTARTS times already; raise OCTOSCOPE_RESTARTS to go on"
  else
    scontrol requeue "$SLURM_JOB_ID" || say "not queued again: cancelled, or not allowed here"
  fi
fi
exit "$CODE"
