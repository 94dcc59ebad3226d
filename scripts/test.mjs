/**
 * `npm test`: builds, then runs the tests that need nothing but Node.
 * `npm run test:kafka`: those against a real Apache Kafka; a suite whose variable is missing says so and is skipped.
 *
 *     npm test -- WORD…      only the files whose path contains one of the words
 */

import "./require-node.mjs";

void import("./build.mjs").then((tools) => tools.runMain(() => test(tools)));

/** Longest one file may take. */
const FILE_TIMEOUT_MS = 10 * 60 * 1000;

async function test({ build, BuildError, filesBelow, root }) {
  const { run } = await import("node:test");
  const { spec } = await import("node:test/reporters");

  const args = process.argv.slice(2);
  const wantsKafka = args.includes("--kafka");
  const words = args.filter((arg) => arg !== "--kafka");
  build();

  const files = [...filesBelow(`${root}/packages`), ...filesBelow(`${root}/scripts`)]
    .filter((path) => /\/dist\/.*\.test\.js$|\/scripts\/.*\.test\.mjs$/.test(path.replaceAll("\\", "/")))
    .filter((path) => needsKafka(path) === wantsKafka)
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)));
  if (files.length === 0) throw new BuildError(`no test file's path contains ${words.join(" or ") || "anything"}`);

  // Those with a Kafka share it, and some stop it: one after the other.
  run({ files, concurrency: !wantsKafka, timeout: FILE_TIMEOUT_MS })
    .on("test:fail", () => {
      process.exitCode = 1;
    })
    .compose(new spec())
    .pipe(process.stdout);
}

function needsKafka(path) {
  return /\.kafka\.test\.js$|kafka-definitions\.test\.js$/.test(path);
}
