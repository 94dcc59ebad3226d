#!/usr/bin/env bash
# Logins and TLS: security.sh SASL_HOST:PORT TLS_HOST:PORT CA_FILE
# Both listeners have user alice with password alice-secret; PYTHON has confluent-kafka, if it is given.
source "$(dirname "$0")/checks.sh"
sasl=$1 tls=$2 ca=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
topic=secure-$run
tool() { timeout 90 ${KAFKA_TOOL:-kafka tool} "$@"; }

java() {
  local protocol=$1 mechanism=$2 server=$3 password=$4 file=$folder/$1-$2.properties
  local login=org.apache.kafka.common.security.scram.ScramLoginModule
  [ "$mechanism" = PLAIN ] && login=org.apache.kafka.common.security.plain.PlainLoginModule
  cat >"$file" <<PROPERTIES
security.protocol=$protocol
sasl.mechanism=$mechanism
sasl.jaas.config=$login required username="alice" password="$password";
ssl.truststore.type=PEM
ssl.truststore.location=$ca
PROPERTIES
  expect "$5" tool topics --bootstrap-server "$server" --command-config "$file" --create --if-not-exists --topic "$topic" --partitions 1
}
kcat_as() { echo x | timeout 20 kcat -b "$1" -P -t "$topic" -X security.protocol="$2" -X sasl.mechanism="$3" -X sasl.username=alice -X sasl.password="$4" -X ssl.ca.location="$ca" -X message.timeout.ms=8000; }
python_as() {
  "$PYTHON" - "$1" "$2" "$3" "$ca" "$topic" <<'PYTHON'
import sys
from confluent_kafka import Producer
server, protocol, mechanism, ca, topic = sys.argv[1:]
producer = Producer({"bootstrap.servers": server, "security.protocol": protocol, "sasl.mechanism": mechanism, "sasl.username": "alice", "sasl.password": "alice-secret", "ssl.ca.location": ca, "message.timeout.ms": 8000})
errors = []
producer.produce(topic, b"x", on_delivery=lambda error, _: errors.append(error))
producer.flush(15)
sys.exit(0 if errors == [None] else str(errors))
PYTHON
}

for mechanism in PLAIN SCRAM-SHA-256 SCRAM-SHA-512; do
  check "Java, $mechanism" java SASL_PLAINTEXT $mechanism "$sasl" alice-secret 'Created topic|^$'
  check "Java, $mechanism over TLS" java SASL_SSL $mechanism "$tls" alice-secret 'Created topic|^$'
  check "Java, $mechanism with a wrong password" java SASL_PLAINTEXT $mechanism "$sasl" wrong 'SaslAuthenticationException.*invalid credentials'
  if [ -n "$PYTHON" ]; then
    check "confluent-kafka, $mechanism" python_as "$sasl" SASL_PLAINTEXT $mechanism
    check "confluent-kafka, $mechanism over TLS" python_as "$tls" SASL_SSL $mechanism
  fi
done
check "kcat, PLAIN" kcat_as "$sasl" SASL_PLAINTEXT PLAIN alice-secret
check "kcat, PLAIN over TLS" kcat_as "$tls" SASL_SSL PLAIN alice-secret
check "kcat, PLAIN with a wrong password" no kcat_as "$sasl" SASL_PLAINTEXT PLAIN wrong
exit "$failed"
