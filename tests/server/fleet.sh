#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/server/fleet.sh FLEET_LOAD
# Two servers behind nginx, with deploy/nginx.conf: one is killed under load, which costs only its own
# streams; it comes back, and is given work again. INKLING_PROGRAM is the program.
set -u

fleet_load=$1
program=${INKLING_PROGRAM:-}
root=${INKLING_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
PATH=$PATH:/usr/sbin:/sbin
leave_out() {
    echo "left out: $1"
    exit 77
}
[ -x "$program" ] || leave_out 'the fleet, INKLING_PROGRAM names no program'
command -v nginx >/dev/null 2>&1 || leave_out 'the fleet, nginx is not installed'

T=$(mktemp -d)
nginx_pid='' load_pid='' pid_a='' pid_b=''
clean() {
    # shellcheck disable=SC2086 # a list of numbers
    kill -9 $nginx_pid $load_pid $pid_a $pid_b 2>/dev/null
    # Workers end with the one who started them, a moment later.
    rm -rf "$T" 2>/dev/null || { sleep 1; rm -rf "$T"; }
}
trap clean EXIT
trap 'exit 1' INT TERM
fail() {
    echo "not ok: $1"
    for file in "$T"/*.log "$T"/report; do [ ! -s "$file" ] || { echo "--- $file"; tail -n 20 "$file"; }; done
    exit 1
}

# Waits until the command succeeds; the end after a long time is for machines that will never get there.
wait_for() {
    what=$1
    shift
    turns=0
    until "$@"; do
        turns=$((turns + 1))
        [ $turns -lt 12000 ] || fail "waited in vain for: $what"
        sleep 0.02
    done
}

# --- servers -------------------------------------------------------------------------------------

# start NAME PORT: sets pid_NAME
start() {
    : >"$T/$1.log"
    "$program" serve --port "$2" --origin http://inkling.example.org >>"$T/$1.log" 2>&1 &
    eval "pid_$1=$!"
}
address_in() { grep -q 'http://127\.0\.0\.1:[0-9][0-9]*' "$T/$1.log"; }
port_of() { sed -n 's|.*http://127\.0\.0\.1:\([0-9][0-9]*\).*|\1|p' "$T/$1.log" | head -n 1; }

start a 0
start b 0
wait_for 'the first server' address_in a
wait_for 'the second server' address_in b
port_a=$(port_of a)
port_b=$(port_of b)

# --- nginx: the example with other ports and folders, and without TLS -----------------------------

configure() {
    {
        [ "$(id -u)" != 0 ] || echo 'user root;'
        echo "daemon off; pid $T/nginx.pid;"
        # The first server of port 80 only sends browsers to the other.
        awk -v t="$T" '
            /^    server \{/ && !seen { seen = 1; skip = 1 }
            !skip
            skip && /^    \}/ { skip = 0 }
            /^http \{/ {
                n = split("client_body proxy fastcgi uwsgi scgi", kinds, " ")
                for (i = 1; i <= n; i++) print "    " kinds[i] "_temp_path " t "/temp_" kinds[i] ";"
            }' "$root/deploy/nginx.conf" |
            sed -e "s|127\.0\.0\.1:8081|127.0.0.1:$port_a|; s|127\.0\.0\.1:8082|127.0.0.1:$port_b|" \
                -e "s|listen 443 ssl http2;|listen 127.0.0.1:$port;|; /ssl_certificate/d" \
                -e "s|/var/log/nginx/inkling.log|$T/access.log|; s|worker_processes auto|worker_processes 1|"
    } >"$T/nginx.conf"
}
nginx_serves() { "$fleet_load" typing "$port" 0 >"$T/probe" 2>/dev/null && grep -q '^201 ' "$T/probe"; }
nginx_began_or_ended() { nginx_serves || ! kill -0 "$nginx_pid" 2>/dev/null; }

for attempt in 1 2 3 4 5; do
    port=$("$fleet_load" free) || fail 'no free port'
    configure
    nginx -p "$T" -e "$T/nginx.log" -c "$T/nginx.conf" 2>"$T/nginx_first.log" &
    nginx_pid=$!
    wait_for 'nginx' nginx_began_or_ended
    ! kill -0 "$nginx_pid" 2>/dev/null || break
    # The port may have become somebody's in between.
    if [ $attempt = 5 ] || ! grep -q 'Address already in use' "$T"/nginx*.log; then fail 'nginx does not start'; fi
done

# --- load ----------------------------------------------------------------------------------------

clients=8
end=$("$program" inspect --json | tr , '\n' | sed -n 's/.*"end_token": *\([0-9]*\).*/\1/p')
"$fleet_load" streams "$port" $clients "$T/stop" "$end" >"$T/report" 2>"$T/load.log" &
load_pid=$!
lines() { wc -l <"$T/report"; }
# Whole streams of a server since line $from of the report.
whole_of() { tail -n "+$((from + 1))" "$T/report" | grep -c "^200 whole 127\.0\.0\.1:$1 "; }
has_served() { # PORT N
    kill -0 "$load_pid" 2>/dev/null || fail 'the load has ended'
    [ "$(whole_of "$1")" -ge "$2" ]
}

from=0
wait_for 'both servers to be given work' has_served "$port_a" 8
wait_for 'both servers to be given work' has_served "$port_b" 8
[ "$(grep -vc '^200 whole ' "$T/report")" = 0 ] || fail 'a stream failed though nobody was killed'

kill -9 "$pid_a"
wait "$pid_a" 2>/dev/null
from=$(lines)
wait_for 'the other server to do all the work' has_served "$port_b" $((clients * 4))

# A connection of anybody may have the port by now, for a while.
is_back() {
    ! address_in a || return 0
    ! kill -0 "$pid_a" 2>/dev/null || return 1
    grep -q 'in use' "$T/a.log" || fail 'the killed server does not begin again'
    start a "$port_a"
    return 1
}
start a "$port_a"
wait_for 'the killed server to be back' is_back
from=$(lines)
wait_for 'the killed server to be given work again' has_served "$port_a" 8

: >"$T/stop"
wait "$load_pid" || fail 'the load did not run to its end'
load_pid=''

broken=$(grep -c '^200 broken ' "$T/report")
others=$(grep '^200 broken ' "$T/report" | grep -vc " 127\.0\.0\.1:$port_a ")
failed=$(grep -vc '^200 ' "$T/report")
echo "$(lines) streams of $clients clients, $broken broken off with their server, $failed refused"
[ "$others" = 0 ] || fail "$others streams of the other server broke"
[ "$broken" -le "$clients" ] || fail "$broken streams broke, only $clients were open"
[ "$failed" = 0 ] || fail "$failed requests were not answered, though a server was there"

# --- typing: all of a session goes to one server -------------------------------------------------

"$fleet_load" typing "$port" 30 >"$T/typing" || fail 'the typing session could not be tried'
[ "$(grep -c '^20[01] whole ' "$T/typing")" = 31 ] || { cat "$T/typing"; fail 'an edit was lost'; }
[ "$(cut -d ' ' -f 3 "$T/typing" | sort -u | wc -l)" = 1 ] || fail 'a typing session went to two servers'

# --- the end -------------------------------------------------------------------------------------

kill "$nginx_pid"
wait "$nginx_pid"
nginx_pid=''
for name in a b; do
    pid=''
    eval "pid=\$pid_$name"
    kill "$pid"
    wait "$pid"
    code=$?
    [ $code = 0 ] || fail "SIGTERM ended server $name with $code"
    if grep -qE 'Sanitizer|runtime error' "$T/$name.log"; then fail "server $name: a sanitizer has complained"; fi
done
pid_a='' pid_b=''
echo 'ok: the fleet'
