/**
 * Runs the whole system on virtual time while networks, disks and processes fail: `npm run sim -- --seed N`.
 *
 *     --seed N        the first seed; a random one if not given
 *     --seeds COUNT   so many seeds, one after the other; 1 if not given
 *     --minutes M     how long things go wrong in each run, in virtual minutes; 0.25 if not given
 *     --trace         prints every line of the trace to stderr
 *
 * Ends with exit code 1 at the first seed for which something does not hold, and prints how to repeat it.
 */

import "./require-node.mjs";

void import("./build.mjs").then((tools) => tools.runMain(() => sim(tools)));

const SEED_LIMIT = 2 ** 31;

async function sim({ build, BuildError }) {
  const { parseArgs } = await import("node:util");
  const options = {
    seed: { type: "string" },
    seeds: { type: "string", default: "1" },
    minutes: { type: "string" },
    trace: { type: "boolean", default: false },
  };
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    throw new BuildError(error.message);
  }
  const number = (name) => {
    const value = Number(values[name]);
    if (values[name] === undefined || (Number.isFinite(value) && value >= 0)) return value;
    throw new BuildError(`--${name} must be a number, not "${values[name]}"`);
  };
  const firstSeed = values.seed === undefined ? Math.floor(Math.random() * SEED_LIMIT) : number("seed");
  const count = number("seeds");
  const minutes = values.minutes === undefined ? {} : { minutes: number("minutes") };
  const onLine = values.trace ? (line) => process.stderr.write(`${line}\n`) : undefined;

  build("packages/testing");
  const { simulate } = await import("@millrace/testing");
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const startMs = performance.now();
    const result = await simulate({ seed, ...minutes, onLine });
    print(result, performance.now() - startMs);
    if (result.violations.length === 0) continue;
    printFailure(result, values.minutes === undefined ? "" : ` --minutes ${values.minutes}`);
    process.exitCode = 1;
    return;
  }
}

function print({ seed, summary, violations, traceHash }, tookMs) {
  const { virtualMs, sent, acknowledged, refused, inLog, faults, brokerStarts } = summary;
  const verdict = violations.length === 0 ? "holds" : "FAILS";
  console.log(
    `seed ${seed} ${verdict}: ${sent} sent, ${acknowledged} acknowledged, ${refused} refused, ${inLog} in the log; ` +
      `${faults} faults, ${brokerStarts} starts of the broker; ${(virtualMs / 1000).toFixed(0)} s in ${(tookMs / 1000).toFixed(1)} s; ` +
      `trace ${traceHash.slice(0, 16)}`,
  );
}

function printFailure({ seed, violations, traceTail, scenario }, flags) {
  console.log(`\nLast lines of the trace (--trace prints all):\n${traceTail.join("\n")}`);
  console.log("\nThe scenario:");
  console.dir(scenario, { depth: 5, breakLength: 120 });
  console.log(`\nWhat does not hold:\n${violations.map((violation) => `  ${violation}`).join("\n")}`);
  console.log(`\nRepeat it: npm run sim -- --seed ${seed}${flags}`);
}
