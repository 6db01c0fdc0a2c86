#!/usr/bin/env bash
# Starts and stops a Docker engine of its own, for the end-to-end test and for recording test data.
#
# usage: scripts/engine.sh start|stop|env [DIR]      (DIR: work directory, default target/engine)
#
#   start  installs docker.io, docker-compose and busybox-static with apt when they are missing, starts dockerd with all its state
#          below DIR, waits until it answers and imports the base image. A running engine in DIR is left as it is.
#   stop   ends the engine in DIR, removes its mounts and everything that start made there. Without an engine: nothing.
#   env    prints the variables that a client needs, for `eval "$(scripts/engine.sh env DIR)"`:
#          BKLOG_DOCKER (the client to call), BKLOG_BASE_IMAGE, DOCKER_HOST, DOCKER_CONFIG, DOCKER_BUILDKIT.
#
# The engine has no network and no firewall rules (no bridge, no iptables), so it runs in a container or a virtual
# machine that allows mounts and namespaces, and never touches another engine on the same host. It must run as root.
#
# Debian's packages are chosen explicitly: /usr/sbin/dockerd and /usr/bin/docker of docker.io. Another docker client may
# stand earlier on PATH, and its builder would write logs of another BuildKit.
#
# Sourced, the file only defines engine_start, engine_stop and engine_env, each taking DIR.

ENGINE_CLIENT=/usr/bin/docker
ENGINE_DAEMON=/usr/sbin/dockerd
ENGINE_BUSYBOX=/bin/busybox
ENGINE_BASE_IMAGE=busybox:1.35
# Marks a directory as made by engine_start, so that engine_stop never deletes in one that was not.
ENGINE_MARK=.bklog-engine

engine_say() { printf 'engine: %s\n' "$*" >&2; }

engine_fail() {
    engine_say "ERROR: $*"
    return 1
}

# Installs what is missing. Services that a package brings must not start by themselves: this engine is started by hand.
engine_install() {
    local missing=() policy=/usr/sbin/policy-rc.d made_policy=
    [[ -x $ENGINE_DAEMON && -x $ENGINE_CLIENT ]] || missing+=(docker.io)
    # Of the first generation, written in Python: what many deploy scripts still call.
    [[ -x /usr/bin/docker-compose ]] || missing+=(docker-compose)
    # A busybox with shared libraries would not run in an image that holds nothing else.
    dpkg-query -W -f '${db:Status-Abbrev}' busybox-static 2>/dev/null | grep -q '^ii' || missing+=(busybox-static)
    if ((${#missing[@]} > 0)); then
        engine_say "installing ${missing[*]}"
        if [[ ! -e $policy ]]; then
            printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made_policy=yes
        fi
        local rc=0 log
        log=$(mktemp)
        { apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || rc=$?
        ((rc == 0)) || cat "$log" >&2
        rm -f "$log"
        [[ -z $made_policy ]] || rm -f "$policy"
        ((rc == 0)) || engine_fail "apt could not install ${missing[*]}" || return 1
    fi
    local owner
    owner=$(dpkg-query -S "$ENGINE_CLIENT" 2>/dev/null | cut -d: -f1)
    [[ $owner == docker.io ]] ||
        engine_fail "$ENGINE_CLIENT is of package '${owner:-none}', not of docker.io: remove it or install docker.io" || return 1
    local first
    first=$(command -v docker || true)
    [[ $first == "$ENGINE_CLIENT" ]] || engine_say "'docker' on PATH is ${first:-missing}; using $ENGINE_CLIENT instead"
}

# The client with nothing of the caller's settings.
engine_docker() {
    local dir=$1
    shift
    DOCKER_HOST="unix://$dir/docker.sock" DOCKER_CONFIG="$dir/config" "$ENGINE_CLIENT" "$@"
}

# The engine's process id, if the process behind the pid file is the engine of this directory.
engine_pid() {
    local dir=$1 pid
    pid=$(cat "$dir/docker.pid" 2>/dev/null) || return 1
    [[ -n $pid && -r /proc/$pid/cmdline ]] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "--data-root=$dir/data" || return 1
    printf '%s\n' "$pid"
}

# The base image: a static busybox, its applets as links, and the few files that a shell expects.
engine_import_base() {
    local dir=$1 root
    engine_docker "$dir" image inspect "$ENGINE_BASE_IMAGE" >/dev/null 2>&1 && return 0
    root=$(mktemp -d "$dir/base.XXXXXX") || return 1
    mkdir -p "$root"/{bin,etc,root,tmp,usr/bin,usr/sbin,sbin} && chmod 1777 "$root/tmp"
    cp "$ENGINE_BUSYBOX" "$root/bin/busybox"
    local applet
    "$root/bin/busybox" --list | while read -r applet; do
        [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    tar -C "$root" --numeric-owner --owner=0 --group=0 -c . |
        engine_docker "$dir" import -c 'ENV PATH=/bin:/sbin:/usr/bin:/usr/sbin' -c 'CMD ["/bin/sh"]' - "$ENGINE_BASE_IMAGE" >/dev/null
    local rc=$?
    rm -rf "$root"
    ((rc == 0)) || engine_fail "the base image could not be imported"
}

engine_start() {
    local dir
    [[ $(id -u) == 0 ]] ||
        engine_fail "dockerd and apt need root: run this as root, or with sudo" || return 1
    dir=$(realpath -m -- "$1") || return 1
    # A socket's path has at most 107 bytes; containerd's is the longest.
    local longest="$dir/exec/containerd/containerd-debug.sock"
    ((${#longest} <= 107)) || engine_fail "$dir is too long a path for unix sockets; name a shorter directory" || return 1
    mkdir -p "$dir" || return 1
    if engine_pid "$dir" >/dev/null && engine_docker "$dir" version >/dev/null 2>&1; then
        engine_say "already running in $dir"
        engine_import_base "$dir"
        return
    fi
    if [[ -e $dir/$ENGINE_MARK ]]; then
        engine_say "an engine in $dir was not stopped cleanly; removing it"
        engine_stop "$dir" || return 1
        mkdir -p "$dir"
    elif [[ -n $(ls -A "$dir") ]]; then
        engine_fail "$dir is not empty and not an engine's directory" || return 1
    fi
    engine_install || return 1
    touch "$dir/$ENGINE_MARK"
    mkdir -p "$dir/config" "$dir/data" "$dir/exec"
    # An empty configuration file keeps /etc/docker/daemon.json out; setsid keeps a Ctrl-C in the caller's terminal away.
    printf '{}\n' >"$dir/daemon.json"
    setsid "$ENGINE_DAEMON" --config-file="$dir/daemon.json" --host="unix://$dir/docker.sock" \
        --data-root="$dir/data" --exec-root="$dir/exec" --pidfile="$dir/docker.pid" \
        --iptables=false --ip6tables=false --bridge=none --ip-forward=false --ip-masq=false \
        </dev/null >"$dir/dockerd.log" 2>&1 &
    local child=$! deadline=$((SECONDS + 60))
    until engine_docker "$dir" version >/dev/null 2>&1; do
        if ! kill -0 "$child" 2>/dev/null || ((SECONDS >= deadline)); then
            engine_say "the last lines of dockerd's own log:"
            tail -n 15 "$dir/dockerd.log" >&2
            kill "$child" 2>/dev/null && wait "$child" 2>/dev/null
            engine_stop "$dir"
            engine_fail "dockerd did not start" || return 1
        fi
        sleep 0.1
    done
    disown "$child" 2>/dev/null || true
    if ! engine_import_base "$dir"; then
        engine_stop "$dir"
        return 1
    fi
    engine_say "dockerd $(engine_docker "$dir" version --format '{{.Server.Version}}, client {{.Client.Version}}') answers in $dir"
}

engine_stop() {
    local dir pid
    dir=$(cd "$1" 2>/dev/null && pwd -P) || return 0
    if [[ ! -e $dir/$ENGINE_MARK ]]; then
        engine_say "no engine in $dir"
        return 0
    fi
    if pid=$(engine_pid "$dir"); then
        kill "$pid" 2>/dev/null
        local deadline=$((SECONDS + 30))
        while engine_pid "$dir" >/dev/null; do
            if ((SECONDS >= deadline)); then
                engine_say "dockerd did not end by itself within 30 s; killing it"
                kill -9 "$pid" 2>/dev/null
                sleep 1
                break
            fi
            sleep 0.1
        done
    fi
    # A killed dockerd leaves its containerd behind.
    if pid=$(cat "$dir/exec/containerd/containerd.pid" 2>/dev/null) && [[ -r /proc/$pid/cmdline ]] &&
        tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qF -- "$dir/exec/"; then
        kill -9 "$pid" 2>/dev/null
        sleep 0.5
    fi
    # Deepest mounts first. mountinfo writes a blank in a path as \040.
    local mount
    while IFS= read -r mount; do
        umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || engine_say "could not unmount $mount"
    done < <(awk '{print $5}' /proc/self/mountinfo | while IFS= read -r mount; do printf '%b\n' "${mount//\\0/\\00}"; done |
        awk -v dir="$dir/" 'index($0, dir) == 1' | sort -r)
    rm -rf --one-file-system "${dir:?}"/{data,exec,config,docker.sock,docker.pid,daemon.json,dockerd.log} "$dir"/base.?????? ||
        engine_fail "something in $dir could not be removed" || return 1
    rm -f "$dir/$ENGINE_MARK"
    rmdir "$dir" 2>/dev/null || true
    engine_say "stopped and removed $dir"
}

engine_env() {
    local dir
    dir=$(cd "$1" 2>/dev/null && pwd -P) && engine_pid "$dir" >/dev/null || engine_fail "no engine runs in $1" || return 1
    printf 'export %s=%q\n' BKLOG_DOCKER "$ENGINE_CLIENT" BKLOG_BASE_IMAGE "$ENGINE_BASE_IMAGE" \
        DOCKER_HOST "unix://$dir/docker.sock" DOCKER_CONFIG "$dir/config" DOCKER_BUILDKIT 1
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -u
    repository=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1
    case ${1:-} in
        start | stop | env) "engine_$1" "${2:-$repository/target/engine}" ;;
        *)
            sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
    esac
fi
