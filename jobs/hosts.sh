#!/usr/bin/env bash
# Reads a hostfile, and asks its hosts whether they are ready. Sourced after environment.sh, not run:
#
#   read_hostfile FILE      sets `hosts`: the names in it, each once, in order
#   check_hosts             ends with a line for each of them that cannot take part

read_hostfile() {
    local line name
    hosts=()
    [ -f "$1" ] || fail "no hostfile $1"
    if grep -q $'\r' "$1"; then
        fail "$1: its lines end in CR LF, as on Windows; needed: LF alone; do: sed -i 's/\\r\$//' $(printf %q "$1")"
    fi
    if [ "$(head -c 3 "$1")" = $'\xef\xbb\xbf' ]; then
        fail "$1: it begins with a byte order mark; needed: none; do: sed -i '1s/^\\xef\\xbb\\xbf//' $(printf %q "$1")"
    fi
    while read -r line || [ -n "$line" ]; do
        name=${line%%[#[:space:]]*} name=${name%%:*}
        [[ -z $name || " ${hosts[*]} " = *" $name "* ]] || hosts+=("$name")
    done <"$1"
    ((${#hosts[@]})) || fail "$1: no host in it; needed: one a line"
}

is_here() {     # is_here HOST: whether that is this machine
    local address here
    here=" 127.0.0.1 ::1 $(hostname -I 2>/dev/null) "
    for address in $(getent ahosts "$1" | cut -d ' ' -f 1); do
        if [[ $here = *" $address "* || $address = 127.* ]]; then return 0; fi
    done
    [[ $1 = "$(hostname)" || $1 = "$(hostname -s)" ]]
}

facts() {       # facts [COMMAND...]: which Python and mpipipe are there, by way of COMMAND
    "$@" "$VENV/bin/python -c 'import sys, mpipipe
print(\"Python %d.%d\" % sys.version_info[:2], \"with mpipipe\", mpipipe.__version__)'" </dev/null
}

check_host() {  # check_host HOST WANTED: a line if it cannot take part
    local said
    # ssh ends its own lines in CR LF.
    if said=$(facts timeout 20 ssh -o BatchMode=yes -o ConnectTimeout=5 "$1" 2>&1 | tr -d '\r'); then
        [ "$said" = "$2" ] || echo "$1: $said; needed: $2, as here; do: install the same there"
    else
        case $? in
            124 | 255) echo "$1: ${said##*$'\n'}; needed: 'ssh $1 true' works without a password" ;;
            127) echo "$1: no $VENV/bin/python there; needed: this folder with its .venv at the same path" ;;
            *) echo "$1: ${said##*$'\n'}; needed: mpipipe in $VENV there; do: run jobs/local.sh there once" ;;
        esac
    fi
}

check_hosts() { # all at once
    local host wanted wrong
    is_here "${hosts[0]}" ||
        fail "the first host, ${hosts[0]}, is not this machine ($(hostname)); needed: rank 0 here, where the files are"
    wanted=$(facts bash -c) || fail "$VENV/bin/python does not find mpipipe; do: rm -r $VENV, and start again"
    wrong=$(for host in "${hosts[@]}"; do
        is_here "$host" || check_host "$host" "$wanted" &
    done; wait)
    if [ -n "$wrong" ]; then
        while read -r host; do say "$host"; done <<<"$wrong"
        exit 2
    fi
}
