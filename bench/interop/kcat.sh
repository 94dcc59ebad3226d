#!/usr/bin/env bash
# kcat on whichever librdkafka it was built with: kcat.sh host:port
source "$(dirname "$0")/checks.sh"
server=$1
topic=kcat-$run
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
kcat -V | grep -o 'Version.*'
k() { timeout 30 kcat -b "$server" -m 10 "$@"; }

produce() { seq 1 100 | k -P -t "$topic" -p 0 "$@"; }
produced() { [ "$(k -C -t "$topic" -p 0 -o beginning -e -q | wc -l)" -eq "$1" ]; }
headers() {
  echo headed | k -P -t "$topic" -p 1 -H a=1 -H a=2 -H empty= -H null
  expect '^a=1,a=2,empty=,null=NULL$' k -C -t "$topic" -p 1 -c 1 -q -f '%h\n'
}
by_time() {
  local before
  before=$(($(date +%s%N) / 1000000))
  echo later | k -P -t "$topic" -p 2
  expect '^later$' k -C -t "$topic" -p 2 -o "s@$before" -c 1 -q
  expect "^$topic \[2\] offset 0$" k -Q -t "$topic:2:$before"
}
# member NAME: joins the group in the background and writes to $folder/NAME which partitions it has.
member() { kcat -b "$server" -X session.timeout.ms=6000 -X heartbeat.interval.ms=300 -G "g-$run" "$topic" >/dev/null 2>"$folder/$1" & }
# assigned NAME COUNT: whether its last assignment has so many partitions.
assigned() { [ "$(grep 'assigned:' "$folder/$1" | tail -n 1 | grep -o '\[[0-9]*\]' | wc -l)" -eq "$2" ]; }
until_true() { for _ in $(seq 300); do "$@" && return; sleep 0.1; done; echo "in vain: $*"; return 1; }
group() {
  member first
  local first=$!
  until_true assigned first 6 || return 1
  member second
  local second=$!
  until_true assigned second 3 && until_true assigned first 3 && kill "$second" && until_true assigned first 6
  local code=$?
  kill "$first"
  wait
  return $code
}
resume() {
  local group=(-q -X auto.offset.reset=earliest -X session.timeout.ms=6000 -G "r-$run" "$topic")
  [ "$(k -c 10 "${group[@]}" | wc -l)" -eq 10 ] || { echo "no 10 records"; return 1; }
  [ "$(k -e "${group[@]}" | wc -l)" -eq $((total + 102 - 10)) ] || { echo "not the rest"; return 1; }
}

check "create a topic by asking for it" expect "topic \"$topic\" with 6 partitions" k -L -t "$topic"
total=0
for codec in none gzip snappy lz4 zstd; do
  check "produce with $codec" produce -z "$codec"
  total=$((total + 100))
done
check "produce idempotently" produce -X enable.idempotence=true
check "all of it is there, once" produced $((total + 100))
check "headers with duplicates, empty and null" headers
check "consume from an offset" expect '^100$' k -C -t "$topic" -p 0 -o 99 -c 1 -q
check "consume by time" by_time
check "a group of two, joined and left" group
check "commit and resume" resume
exit "$failed"
