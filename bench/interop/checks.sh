# What the scenarios in shell share: one line a check, and an exit code that counts. Sourced.

run=$(date +%s%N | tail -c 9)
failed=0

# check NAME COMMAND...: the command fails by its exit code.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok    $name"
  else
    failed=1
    echo "FAIL  $name: $(tail -n 4 <<<"$output" | tr '\n' ' ')"
  fi
}

# expect TEXT COMMAND...: the command's output has a line like TEXT.
expect() {
  local text=$1 output
  shift
  output=$("$@" 2>&1)
  grep -qE -- "$text" <<<"$output" || { echo "expected $text in: $output"; return 1; }
}

# no COMMAND...: the command fails.
no() { ! "$@"; }
