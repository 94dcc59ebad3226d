#!/usr/bin/env bash
# kcat on whichever librdkafka it was built with: kcat.sh host:port
source "$(dirname "$0")/checks.sh"
server=$1
topic=kcat-$run
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
group() { expect '^headed$' k -X auto.offset.reset=earliest -X session.timeout.ms=6000 -G "g-$run" "$topic" -c 600 -q; }

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
check "a group" group
exit "$failed"
