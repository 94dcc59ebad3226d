import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  choice,
  code,
  count,
  defineOptions,
  environmentName,
  flag,
  flagName,
  list,
  millis,
  nearestName,
  OptionError,
  sizeBytes,
  text,
} from "./options.ts";

const table = defineOptions(
  {
    lingerMs: millis({ default: 0, doc: "How long a batch waits.", kafka: "linger.ms", aliases: ["linger"] }),
    batchSize: sizeBytes({ default: 16384, min: 1, max: 1024 ** 3, doc: "How large a batch grows." }),
    retries: count({ default: 10, doc: "How often." }),
    compressionType: choice(["none", "gzip"], { default: "none", doc: "Which codec." }),
    isFast: flag({ default: true, doc: "Whether to hurry." }),
    clientId: text({ default: "millrace", doc: "Who we are." }),
    transactionalId: text<string | null>({ default: null, doc: "Which transaction." }),
    password: text<string | null>({ default: null, doc: "The secret.", isSecret: true }),
    bootstrapServers: list({ default: [], doc: "Where to begin." }),
    onEvent: code<(() => void) | null>({
      default: null,
      doc: "Called back.",
      typeName: "function",
      accepts: (value) => typeof value === "function",
    }),
  },
  [{ option: "lingerMs", rule: "must be at most retries", isKept: ({ lingerMs, retries }) => lingerMs <= retries }],
);

test("each text of a list may have to be something", () => {
  const origins = { rule: "must be origins", accepts: (item: string) => item.startsWith("https://") };
  const withItems = defineOptions({ origins: list({ default: [], doc: "Whose pages.", items: origins }) });

  assert.deepEqual(withItems.resolve({ origins: "https://a,https://b" }).origins, ["https://a", "https://b"]);
  assert.throws(() => withItems.resolve({ origins: ["https://a", "b"] }), /option origins is .*; it must be origins/);
});

describe("resolved options", () => {
  test("are the defaults where nothing is given", () => {
    assert.deepEqual(table.resolve({}), {
      lingerMs: 0,
      batchSize: 16384,
      retries: 10,
      compressionType: "none",
      isFast: true,
      clientId: "millrace",
      transactionalId: null,
      password: null,
      bootstrapServers: [],
      onEvent: null,
    });
  });

  test("hold what is given; undefined counts as not given", () => {
    const options = table.resolve({ lingerMs: 2.5, compressionType: "gzip", clientId: undefined });

    assert.equal(options.lingerMs, 2.5);
    assert.equal(options.compressionType, "gzip");
    assert.equal(options.clientId, "millrace");
  });

  test("are known by their aliases too", () => {
    assert.equal(table.resolve({ linger: 7 }).lingerMs, 7);
  });

  test("are frozen, and the input is left as it was", () => {
    const input = { bootstrapServers: "a:1, b:2" };

    const options = table.resolve(input);

    assert.throws(() => Object.assign(options, { lingerMs: 1 }), TypeError);
    assert.deepEqual(options.bootstrapServers, ["a:1", "b:2"]);
    assert.deepEqual(input, { bootstrapServers: "a:1, b:2" });
  });
});

describe("a wrong option is refused with its name, its value and the rule:", () => {
  for (const [input, message] of [
    [{ lingerMs: -1 }, "option lingerMs is -1; it must be a number, at least 0"],
    [{ linger: "5" }, 'option linger is "5"; it must be a number, at least 0'],
    [{ batchSize: 0 }, "option batchSize is 0; it must be a whole number, from 1 to 1073741824"],
    [{ retries: 1.5 }, "option retries is 1.5; it must be a whole number, at least 0"],
    [{ retries: Number.NaN }, "option retries is null; it must be a whole number, at least 0"],
    [{ compressionType: "brotli" }, 'option compressionType is "brotli"; it must be one of none, gzip'],
    [{ isFast: "yes" }, 'option isFast is "yes"; it must be true or false'],
    [{ clientId: "" }, 'option clientId is ""; it must be a text that is not empty'],
    [{ clientId: null }, "option clientId is null; it must be a text that is not empty"],
    [{ bootstrapServers: [1] }, "option bootstrapServers is [1]; it must be a list of texts"],
    [{ onEvent: 3 }, "option onEvent is 3; it must be function"],
    [{ password: 12345 }, "option password is (hidden); it must be a text that is not empty"],
    [{ lingerMs: 11 }, "option lingerMs: must be at most retries"],
    [{ lingerms: 1 }, "there is no option lingerms; did you mean lingerMs?"],
    [{ somethingElse: 1 }, "there is no option somethingElse"],
  ] as const) {
    test(message, () => {
      assert.throws(
        () => table.resolve(input),
        (error) => error instanceof OptionError && error.code === "INVALID_CONFIG" && error.message.startsWith(message),
      );
    });
  }
});

describe("the text of a flag or variable", () => {
  const { entries } = table;

  test("gives sizes with their units", () => {
    const parse = entries.batchSize.parse;

    assert.deepEqual(["512", "512k", "16MiB", "1 g", " 3 b "].map(parse), [512, 524288, 16777216, 1073741824, 3]);
    for (const wrong of ["", "many", "1.5k", "-1", "1 parsec"]) {
      assert.throws(() => entries.batchSize.check(parse(wrong)), /must be/, wrong);
    }
  });

  test("gives numbers; an empty one is none", () => {
    assert.equal(entries.lingerMs.parse("2.5"), 2.5);
    assert.throws(() => entries.lingerMs.check(entries.lingerMs.parse(" ")), /must be/);
    assert.throws(() => entries.lingerMs.check(entries.lingerMs.parse("5ms")), /must be/);
  });

  test("gives booleans for true and false, 1 and 0", () => {
    assert.deepEqual(["true", "1", "false", "0"].map(entries.isFast.parse), [true, true, false, false]);
    assert.throws(() => entries.isFast.check(entries.isFast.parse("on")), /must be true or false/);
  });

  test("gives lists without the spaces and empty places", () => {
    assert.deepEqual(entries.bootstrapServers.parse(" a:1,, b:2 ,"), ["a:1", "b:2"]);
  });
});

test("the names of flags and variables come from the option's", () => {
  assert.equal(flagName("lingerMs"), "--linger-ms");
  assert.equal(environmentName("lingerMs"), "MILLRACE_LINGER_MS");
});

test("the nearest name is one that takes few edits, or none", () => {
  assert.equal(nearestName("batchSiz", ["batchSize", "bufferSize"]), "batchSize");
  assert.equal(nearestName("BATCHSIZE", ["batchSize"]), "batchSize");
  assert.equal(nearestName("x", ["batchSize"]), null);
});
