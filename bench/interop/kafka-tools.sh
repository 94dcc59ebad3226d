#!/usr/bin/env bash
# Apache Kafka's command line tools: kafka-tools.sh host:port DATA_DIR
# KAFKA_TOOL is what runs one by its name without "kafka-" and ".sh"; Kafka's bin folder will do: KAFKA_TOOL=run_from_bin
source "$(dirname "$0")/checks.sh"
server=$1 data=$2
topic=tools-$run
tool() { timeout 90 ${KAFKA_TOOL:-kafka tool} "$1" --bootstrap-server "$server" "${@:2}"; }
bare() { timeout 90 ${KAFKA_TOOL:-kafka tool} "$@"; }

produce() { seq 1 100 | tool console-producer --topic "$topic" --compression-codec "$1" --producer-property acks=all; }
consume() { [ "$(tool console-consumer --topic "$topic" --from-beginning --max-messages "$1" --timeout-ms 20000 2>/dev/null | wc -l)" -eq "$1" ]; }
headers() {
  printf 'a:1,a:2\tkey\tvalue\n' | tool console-producer --topic "$topic-h" --property parse.headers=true --property parse.key=true || return 1
  expect '^a:1,a:2.key.value$' tool console-consumer --topic "$topic-h" --from-beginning --max-messages 1 --timeout-ms 20000 --property print.headers=true --property print.key=true
}
verifiable() {
  expect '"sent":1000,"acked":1000' tool verifiable-producer --topic "$topic" --max-messages 1000 --acks -1 || return 1
  expect '"name":"shutdown_complete"' tool verifiable-consumer --topic "$topic" --group-id "v-$run" --max-messages 1500 --reset-policy earliest
}
groups() {
  tool console-consumer --topic "$topic" --group "g-$run" --from-beginning --max-messages 500 --timeout-ms 20000 >/dev/null || return 1
  expect "g-$run" tool consumer-groups --list || return 1
  expect "g-$run +$topic +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+" tool consumer-groups --describe --group "g-$run" || return 1
  expect "$topic +0 +0" tool consumer-groups --reset-offsets --group "g-$run" --topic "$topic" --to-earliest --execute || return 1
  expect "$topic +0 +0" tool consumer-groups --reset-offsets --group "g-$run" --topic "$topic" --to-datetime 2020-01-01T00:00:00.000 --dry-run || return 1
  expect "was successful|were successful" tool consumer-groups --delete --group "g-$run"
}
configs() {
  expect 'Completed updating config' tool configs --alter --entity-type topics --entity-name "$topic" --add-config retention.ms=1234567 || return 1
  expect 'retention.ms=1234567' tool configs --describe --entity-type topics --entity-name "$topic" || return 1
  expect 'num.partitions' tool configs --describe --entity-type brokers --entity-name 1 --all
}
partitions() {
  tool topics --alter --topic "$topic" --partitions 6 && expect 'PartitionCount: 6' tool topics --describe --topic "$topic"
}
records() {
  local file=/tmp/interop-delete-$run.json
  echo "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":1}],\"version\":1}" >"$file"
  expect 'low_watermark: 1' tool delete-records --offset-json-file "$file"
  local code=$?
  rm -f "$file"
  return $code
}
perf() {
  expect '20000 records sent' bare producer-perf-test --topic "$topic" --num-records 20000 --record-size 100 --throughput -1 --producer-props "bootstrap.servers=$server" acks=all || return 1
  expect '^[0-9]{4}-' tool consumer-perf-test --topic "$topic" --messages 20000 --timeout 30000
}
dump() {
  local segment class
  segment=$(ls "$data/$topic-0/"*.log | head -1)
  # The tool has moved: Kafka 3 has it at the first place, Kafka 4 at the second.
  for class in kafka.tools.DumpLogSegments org.apache.kafka.tools.DumpLogSegments; do
    if expect 'isvalid: true' bare $class --files "$segment" --print-data-log --deep-iteration; then
      no expect 'isvalid: false' bare $class --files "$segment"
      return
    fi
  done
  return 1
}
check "the broker's versions" expect 'Produce\(0\): 0 to 11 \[usable' tool broker-api-versions
check "create a topic" expect "Created topic $topic" tool topics --create --topic "$topic" --partitions 3 --replication-factor 1 --config segment.bytes=1048576
check "list and describe topics" expect "PartitionCount: 3" tool topics --describe --topic "$topic"
for codec in none gzip snappy lz4 zstd; do check "produce with $codec" produce "$codec"; done
check "consume from the beginning" consume 500
check "headers with duplicates" headers
check "verifiable producer (idempotent) and consumer" verifiable
check "offsets by position and time" expect "$topic:0:[0-9]+" tool get-offsets --topic "$topic" --time -2
check "largest timestamp" expect "$topic:[0-2]:[0-9]+" tool get-offsets --topic "$topic" --time -3
check "groups: consume, describe, reset, delete" groups
check "configs" configs
check "more partitions" partitions
check "delete records" records
check "log dirs" expect '"partition":"'"$topic"'-0"' tool log-dirs --describe --topic-list "$topic"
check "cluster id" expect 'Cluster ID' bare cluster cluster-id --bootstrap-server "$server"
check "producer and consumer perf test" perf
[ -n "$data" ] && check "dump-log reads our segments" dump
check "delete the topic" tool topics --delete --topic "$topic"
exit "$failed"
