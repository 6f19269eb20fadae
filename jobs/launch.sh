#!/usr/bin/env bash
# Runs the program to its end for the job scripts, and finds out how it ended. Sourced after environment.sh, not run:
#
#   launch SIGNAL COMMAND...    run COMMAND, a launcher with the program, and set these variables:
#
#   ended     the exit status that the program recorded; empty where it recorded none, as it was killed
#   status    the same; where the program recorded none, the launcher's, but never 0
#   stopped   why training stopped, as in summary.json: finished, interrupted or stop_after; empty where it did not say
#
# USR1 asks the program to save and stop. After INT the launcher gets SIGNAL, which is TERM or USR1. TERM and HUP ask
# the program to save, for mpirun would leave it no time to; the second time, or before the program is ready, they do as
# INT does. A script that traps USR1, TERM, INT and HUP from its first line on, and keeps the name in `signal` (TERM for
# the last three), loses none.
#
# The launcher's own status proves nothing: mpirun ends with 0 when a host has lost its power. So rank 0 of this very
# start writes lines to the new file MPIPIPE_OUTCOME: "ready" once every rank handles signals, "folder PATH", "stopped
# WHY", and "ended STATUS" as the last one.

signal=${signal-}

noted() {       # noted WORD: what rank 0 wrote behind it
    sed -n "s/^$1 //p" "$MPIPIPE_OUTCOME" | tail -n 1
}

pass_on() {     # pass_on SIGNAL: to the launcher; a rank that is not ready would die of USR1, so that one waits
    while [ "$1" = USR1 ] && [ ! -s "$MPIPIPE_OUTCOME" ]; do
        kill -0 "$launcher" 2>/dev/null || return 0
        sleep 0.1
    done
    kill "-$1" "$launcher" 2>/dev/null || true
}

append() {      # mpirun's lines, ours and the program's last one would overwrite each other in a file opened by > alone
    if [ -f /dev/fd/1 ] && [ -w /dev/fd/1 ]; then exec >>/dev/fd/1; fi
    if [ -f /dev/fd/2 ] && [ -w /dev/fd/2 ]; then exec 2>>/dev/fd/2; fi
}

stop_soon() {   # stop_soon SIGNAL: after TERM or HUP
    local before=$signal
    signal=TERM
    if [ "$before" != TERM ] && [ -s "$MPIPIPE_OUTCOME" ]; then pass_on USR1 & else pass_on "$1" & fi
}

launch() {
    local ending=$1 running=yes
    shift
    ended='' stopped='' status=0
    if [ "$signal$ending" = TERMTERM ]; then
        say "stopped before the program was started"
        status=130
        return
    fi
    append
    MPIPIPE_OUTCOME=$(mktemp) || fail "no temporary file can be made in ${TMPDIR:-/tmp}"
    export MPIPIPE_OUTCOME
    trap 'rm -f "$MPIPIPE_OUTCOME"' EXIT
    trap 'signal=TERM' TERM INT HUP     # until there is a launcher to pass it on to
    set -m                              # a process group of its own, so that Ctrl-C reaches it once, from here
    "$@" </dev/null &
    launcher=$!
    set +m
    trap 'signal=USR1; pass_on USR1 &' USR1
    # shellcheck disable=SC2064
    trap "signal=TERM; pass_on $ending &" INT
    # shellcheck disable=SC2064
    trap "stop_soon $ending" TERM HUP
    case $signal in
        USR1) pass_on USR1 & ;;
        TERM) pass_on "$ending" & ;;
    esac
    while [ -n "$running" ]; do         # a signal ends `wait`, not the launcher
        status=0
        wait "$launcher" || status=$?
        kill -0 "$launcher" 2>/dev/null || running=''
    done
    judge "$(basename "$1")"
    if [ "$signal" = TERM ] && [ "$status" = 0 ] && [ "$stopped" = interrupted ]; then status=130; fi
}

judge() {       # judge LAUNCHER: set `status` and `stopped`
    local folder rest='nothing had been saved'
    ended=$(noted ended) folder=$(noted folder)
    # shellcheck disable=SC2034
    stopped=$(noted stopped)            # for the script that sources this
    if [ -n "$ended" ]; then
        status=$ended
    elif [ "$signal" = TERM ] && [ ! -s "$MPIPIPE_OUTCOME" ]; then
        say "stopped before the program had begun"
        status=130
    elif [ "$status" = 0 ] || [ -s "$MPIPIPE_OUTCOME" ]; then   # else it never began, and why not has been said
        if [ -n "$folder" ] && compgen -G "$folder/checkpoints/*.h5" >/dev/null; then
            rest="to go on, give the same arguments with --resume and --out $(printf %q "$folder")"
        fi
        say "the program recorded no end (status of $1: $status); a rank was killed or a host was lost; $rest"
        [ "$status" != 0 ] || status=1
    fi
}
