#!/usr/bin/env bash
# Nine pretend hosts (thinkpad, mini1 to mini8) on one machine, for tests of mpirun over ssh. Each has its own name,
# network, process numbers, /tmp and shared memory, and an sshd; all hang on one switch of their own, which nothing
# outside can reach. Everything lives below ONE process, the rack: ending that ends all of it.
#
#   tests/cluster/hosts.sh up                    start them, print the state folder: export CLUSTER=FOLDER for the rest
#   tests/cluster/hosts.sh run COMMAND...        run COMMAND on thinkpad, in this folder and environment
#   tests/cluster/hosts.sh on HOST COMMAND...    run COMMAND on HOST
#   tests/cluster/hosts.sh shape [RATE|off]      speed of all links, both ways; default 1gbit
#   tests/cluster/hosts.sh link HOST up|down     plug or pull a host's cable
#   tests/cluster/hosts.sh crash HOST            kill everything on it; its connections are closed
#   tests/cluster/hosts.sh poweroff HOST         pull its cable, then kill everything on it; nobody hears of it
#   tests/cluster/hosts.sh down                  end them all and remove the state folder
#   tests/cluster/hosts.sh with COMMAND...       up, run COMMAND, down
#
# CLUSTER   the state folder; default for `up` and `with`: a new one
# VENV      put first on the PATH of the hosts' shells; default: .venv of the project
# SHARE     folders below /tmp that all hosts see, with : between them; of /tmp each has its own, the rest is common to
#           all. They always see the project and VENV
# MAXLIFE   seconds after which the hosts end by themselves; default 600
#
# Needs: root, Linux, iproute2, util-linux, openssh-server (installed; it need not run).
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
me=$(readlink -f "${BASH_SOURCE[0]}")
project=$(dirname "$(dirname "$(dirname "$me")")")
hosts="thinkpad mini1 mini2 mini3 mini4 mini5 mini6 mini7 mini8"
network=10.77.0

fail() { echo "hosts.sh: $*" >&2; exit 1; }

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$me"; }

retry() {       # retry COMMAND...: until it succeeds, for 10 s
    local turn
    for ((turn = 0; turn < 500; turn++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.02
    done
    return 1
}

child_of() {    # the only child of a process, once there is one; fails if the process ends before
    until pgrep -P "$1"; do
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.02
    done
}

state() {       # S: the state folder of hosts that are up
    S=${CLUSTER:-}
    [ -n "$S" ] || fail "CLUSTER is not set; needed: the folder that 'hosts.sh up' printed"
}

rack() {        # the rack's process number; fails unless it is alive and ours (numbers are used again)
    local number
    number=$(cat "$S/rack.pid" 2>/dev/null) && tr '\0' ' ' <"/proc/$number/cmdline" | grep -qF "hosts.sh _rack $S" &&
        echo "$number"
} 2>/dev/null

in_rack() {
    local number
    number=$(rack) || fail "no hosts are up in $S"
    nsenter -t "$number" -m -n -p -- "$@"
}

pid_of() { cat "$S/$1.pid" 2>/dev/null || fail "there is no host '$1'; there are: $hosts"; }    # as the rack sees it

# ---- what runs inside ------------------------------------------------------------------------------------------------

_rack() {       # the first process of the rack: the switch, the hosts, then waiting
    local host number=0 end=$((SECONDS + MAXLIFE))
    mount --make-rprivate /
    ip link set lo up
    ip link add switch type bridge stp_state 0 forward_delay 0
    ip link set switch up
    for host in $hosts; do
        number=$((number + 1))
        plug_in "$host" "$number"
    done
    touch "$S/ready"
    while ((SECONDS < end)); do
        sleep 1 &
        wait $! || :
    done
}

plug_in() {     # plug_in HOST NUMBER: start the host, and lay a cable from it to the switch
    local pid
    unshare --net --uts --ipc --mount --pid --fork --kill-child=KILL --mount-proc \
        bash "$me" _host "$S" "$1" "$network.$2" </dev/null >"$S/log/$1" 2>&1 &
    pid=$(child_of $!)
    echo "$pid" >"$S/$1.pid"
    ip link add "to-$1" type veth peer name eth0 netns "$pid"
    ip link set "to-$1" master switch up
}

_host() {       # the first process of a host: _host HOST ADDRESS
    local folder
    mount --make-rprivate /
    hostname "$1"
    mount -t tmpfs -o size=1g,mode=1777 shm /dev/shm
    mount -t tmpfs -o size=16m,mode=755 run /run
    mkdir -p /run/sshd /run/tmp
    # Its own /tmp, because Open MPI's session folders there would collide; the shared folders are put back into it.
    mount -t tmpfs -o size=1g,mode=1777 tmp /run/tmp
    while read -r folder; do
        mkdir -p "/run/tmp/${folder#/tmp/}"
        mount --rbind "$folder" "/run/tmp/${folder#/tmp/}"
    done < <(grep '^/tmp/' "$S/share")
    mount --move /run/tmp /tmp
    for folder in hosts passwd shadow; do
        mount --bind "$S/etc/$folder" "/etc/$folder"
    done
    ip link set lo up
    retry ip link show eth0
    ip addr add "$2/24" dev eth0
    ip link set eth0 up
    cd /
    exec env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 /usr/sbin/sshd -D -e -f "$S/etc/sshd_config"
}

# ---- commands --------------------------------------------------------------------------------------------------------

write_settings() {      # keys, names and addresses, all in the state folder
    local host folder number=0 venv=${VENV:-$project/.venv}
    mkdir -p "$S/etc" "$S/log"
    mkdir -m 700 "$S/home" "$S/home/.ssh"
    chmod 755 "$S"
    ssh-keygen -q -t ed25519 -N '' -f "$S/etc/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$S/home/.ssh/id_ed25519"
    cp "$S/home/.ssh/id_ed25519.pub" "$S/home/.ssh/authorized_keys"
    printf '%s\n' StrictHostKeyChecking=no UserKnownHostsFile=/dev/null LogLevel=ERROR ConnectTimeout=10 \
        >"$S/home/.ssh/config"
    chmod 600 "$S"/home/.ssh/*
    printf "export PATH=%q:\$PATH\\n" "$venv/bin" >"$S/home/.bashrc"
    echo "127.0.0.1 localhost" >"$S/etc/hosts"
    for host in $hosts; do
        number=$((number + 1))
        echo "$network.$number $host" >>"$S/etc/hosts"
    done
    sed "s#^root:.*#root:x:0:0:root:$S/home:/bin/bash#" /etc/passwd >"$S/etc/passwd"
    sed 's#^root:[^:]*:#root:*:#' /etc/shadow >"$S/etc/shadow"     # no password, but not locked either
    chmod 640 "$S/etc/shadow"
    cat >"$S/etc/sshd_config" <<END
HostKey "$S/etc/host_key"
AuthorizedKeysFile "$S/home/.ssh/authorized_keys"
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
MaxStartups 100:30:200
END
    printf '%s\n' "$S" "$project" "$venv" >"$S/share"
    tr : '\n' <<<"${SHARE:-}" | sed '/^$/d' >>"$S/share"
    while read -r folder; do
        [ -d "$folder" ] || fail "there is no folder $folder for the hosts to see"
    done <"$S/share"
}

up() {
    local host command
    [ "$(id -u)" = 0 ] || fail "must be root"
    for command in ip tc nsenter unshare pgrep ssh-keygen sshd; do
        command -v $command >/dev/null ||
            fail "no $command; on Debian: apt-get install iproute2 util-linux procps openssh-server"
    done
    S=${CLUSTER:-$(mktemp -d "${TMPDIR:-/tmp}/hosts.XXXXXX")}
    S=$(realpath -m "$S")
    if rack >/dev/null; then
        echo "$S"           # they are up already
        return
    fi
    [ ! -e "$S/rack.pid" ] || rm -rf "$S"
    mkdir -p "$S"
    [ -z "$(ls -A "$S")" ] || fail "$S is not empty, and holds no hosts"
    trap down EXIT          # unless all goes well
    touch "$S/rack.pid"
    write_settings
    MAXLIFE=${MAXLIFE:-600} setsid unshare --net --mount --pid --fork --kill-child=KILL --mount-proc \
        bash "$me" _rack "$S" </dev/null >"$S/log/rack" 2>&1 &
    if ! { child_of $! >"$S/rack.pid" && retry test -e "$S/ready"; }; then
        fail "the rack did not start: $(tail -n 3 "$S/log/rack")"
    fi
    for host in $hosts; do
        retry grep -q 'Server listening' "$S/log/$host" || fail "$host did not start: $(tail -n 3 "$S/log/$host")"
    done
    trap - EXIT
    echo "$S"
}

on() {          # into the rack, then into the host; the environment is kept, but for HOME
    local host=$1 rack pid
    shift
    pid=$(pid_of "$host")
    rack=$(rack) || fail "no hosts are up in $S"
    # shellcheck disable=SC2016
    exec nsenter -t "$rack" -m -n -p -- nsenter -t "$pid" -m -u -n -i -p -- \
        env -u CLUSTER -u VENV -u SHARE HOME="$S/home" HOSTNAME="$host" \
        bash -c 'cd "$1" && shift && exec "$@"' hosts.sh "$PWD" "$@"
}

shape() {       # both ends of every cable
    local host rate=${1:-1gbit}
    for host in $hosts; do
        limit "$rate" "to-$host"
        limit "$rate" eth0 nsenter -t "$(pid_of "$host")" -n --
    done
}

limit() {       # limit RATE DEVICE [WHERE...]; the burst must hold one large packet, or it is cut up
    local rate=$1 device=$2
    shift 2
    in_rack "$@" tc qdisc del dev "$device" root 2>/dev/null || :
    [ "$rate" = off ] || in_rack "$@" tc qdisc add dev "$device" root tbf rate "$rate" burst 64kb limit 512kb
}

crash() {
    local pid
    pid=$(pid_of "$1")
    in_rack kill -KILL "$pid"
}

down() {
    local number
    if number=$(rack); then
        kill -KILL "$number"
        retry test ! -d "/proc/$number" || fail "the rack, process $number, does not end"
    fi
    [ ! -e "$S/rack.pid" ] || rm -rf "$S"
}

command=${1:-}
shift || :
case $command in
    up) up ;;
    down) state; down ;;
    run) state; on thinkpad "$@" ;;
    on) state; on "$@" ;;
    shape) state; shape "$@" ;;
    link) state; in_rack ip link set "to-${1:-}" "${2:-}" ;;
    crash) state; crash "${1:-}" ;;
    poweroff) state; in_rack ip link set "to-${1:-}" down; crash "$1" ;;
    with)
        up >/dev/null
        trap down EXIT
        trap 'exit 130' INT TERM
        CLUSTER=$S "$me" run "$@"
        ;;
    _rack) S=$1; _rack ;;
    _host) S=$1; shift; _host "$@" ;;
    -h | --help) usage ;;
    *) usage >&2; exit 2 ;;
esac
