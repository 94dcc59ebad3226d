"""What the Python scenarios share: one line a check, and an exit code that counts."""

import sys
import time
import traceback

failures = []


def check(name, run):
    try:
        run()
        print(f"ok    {name}", flush=True)
    except Exception as error:
        failures.append(name)
        print(f"FAIL  {name}: {error!r}", flush=True)
        traceback.print_exc(limit=4, file=sys.stderr)


def expect(actual, expected):
    if actual != expected:
        raise AssertionError(f"{actual!r}; expected {expected!r}")


def wait_until(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
    raise AssertionError(f"waited {seconds} s in vain until {what}")


def finish():
    sys.exit(1 if failures else 0)
