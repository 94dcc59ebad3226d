import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RequestError } from "./errors.ts";
import { scanLineBlock, scanEnvelope as scanRecords } from "./produce-body.ts";
import { ScannedRecord, ScannedRecords } from "./scanned-records.ts";

const LIMIT = 1_000;

/** Each in an object of its own. */
function scanEnvelope(body: Buffer, recordLimit: number): ScannedRecord[] {
  const records = scanRecords(body, recordLimit);
  return Array.from({ length: records.length }, (_, index) => Object.assign(new ScannedRecord(), records.at(index)));
}

function scan(text: string): ScannedRecord[] {
  return scanEnvelope(Buffer.from(text), LIMIT);
}

/** The first record of an envelope with this one record. */
function scanOne(record: string): ScannedRecord {
  const [scanned] = scan(`{"records":[${record}]}`);
  assert.ok(scanned !== undefined);
  return scanned;
}

/** The error that a body is refused with. */
function refusal(text: string | Buffer): RequestError {
  try {
    scanEnvelope(Buffer.from(text), LIMIT);
  } catch (error) {
    assert.ok(error instanceof RequestError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: `accepted ${text}` });
}

test("keys and values are found where they stand, spacing and all", () => {
  const body = Buffer.from('{ "records" : [ { "key" : "k" , "value" : { "b" : 1.0, "a": 12345678901234567890 } } ] }');

  const [record] = scanEnvelope(body, LIMIT);

  assert.ok(record !== undefined);
  assert.equal(body.toString("utf8", record.keyStart, record.keyEnd), '"k"');
  assert.equal(body.toString("utf8", record.valueStart, record.valueEnd), '{ "b" : 1.0, "a": 12345678901234567890 }');
});

test("a line that breaks off leaves the records before it as they are", () => {
  const body = Buffer.from('{"value":1}\n{"partition":3,"headers":[{"key":"a"}],"value":2');
  const records = new ScannedRecords();

  assert.throws(() => scanLineBlock(body, LIMIT, { lineCount: 0, recordCount: 0 }, records), RequestError);

  assert.equal(records.length, 1);
  const { partition, headers, valueStart } = records.at(0);
  assert.deepEqual({ partition, headers, valueStart }, { partition: null, headers: null, valueStart: 9 });
});

test("a key or value that is left out has no place", () => {
  assert.equal(scanOne("{}").keyStart, -1);
  assert.equal(scanOne("{}").valueStart, -1);
});

test("every value comes out as it was sent, whatever else is in its record", () => {
  const record = fc.record(
    { key: fc.json(), value: fc.json(), partition: fc.nat({ max: 2 ** 31 - 1 }), note: fc.json() },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.array(record, { minLength: 1 }), fc.constantFrom("", " ", "\n\t"), (records, space) => {
      const fields = records.map((parts) =>
        Object.entries(parts).map(([name, json]) => `"${name}"${space}:${space}${json}`),
      );
      const list = fields.map((parts) => `{${space}${parts.join(`${space},${space}`)}${space}}`);
      const body = Buffer.from(`${space}{"records":${space}[${list.join(",")}]${space}}${space}`);

      const scanned = scanEnvelope(body, LIMIT);

      assert.equal(scanned.length, records.length);
      for (const [index, found] of scanned.entries()) {
        const sent = records[index];
        const key = found.keyStart < 0 ? undefined : body.toString("utf8", found.keyStart, found.keyEnd);
        const value = found.valueStart < 0 ? undefined : body.toString("utf8", found.valueStart, found.valueEnd);
        assert.equal(key, sent?.key);
        assert.equal(value, sent?.value);
        assert.equal(found.partition, sent?.partition ?? null);
      }
    }),
  );
});

test("a field's name may be written with escapes", () => {
  assert.equal(scanOne('{"\\u0070artition":3}').partition, 3);
});

test("fields that are not known are passed over", () => {
  const [record] = scan('{"extra":{"records":[]},"records":[{"valu":1,"value":2,"values":[3]}],"more":null}');

  assert.equal(record?.valueStart, '{"extra":{"records":[]},"records":[{"valu":1,"value":'.length);
});

for (const field of ["partition", "timestamp", "headers", "id", "keyFormat", "valueFormat"]) {
  test(`null for ${field} is the same as leaving it out`, () => {
    assert.deepEqual(scanOne(`{"${field}":null}`), scanOne("{}"));
  });
}

test("a timestamp is milliseconds or an ISO time", () => {
  assert.equal(scanOne('{"timestamp":1612554282000}').timestampMs, 1_612_554_282_000);
  assert.equal(scanOne('{"timestamp":"2021-02-05T19:44:42.000Z"}').timestampMs, 1_612_554_282_000);
  assert.equal(scanOne('{"timestamp":"2021-02-05T20:44:42+01:00"}').timestampMs, 1_612_554_282_000);
});

test("headers keep their order, their duplicates and their nulls", () => {
  const { headers } = scanOne(
    '{"headers":[{"key":"a","value":"1"},{"key":"a","value":null},{"key":"b"},{"value":"AAH/","key":"a","encoding":"base64"},{"key":"","value":""}]}',
  );

  assert.deepEqual(headers, [
    ["a", Buffer.from("1")],
    ["a", null],
    ["b", null],
    ["a", Buffer.from([0, 1, 255])],
    ["", Buffer.alloc(0)],
  ]);
});

test("a header that is no base64 fails its record and no other", () => {
  const [bad, good] = scan('{"records":[{"headers":[{"key":"h","value":"é","encoding":"base64"}]},{}]}');

  assert.equal(bad?.failure?.code, "SERIALIZATION_FAILED");
  assert.equal(good?.failure, null);
});

test("an id is kept as it was written", () => {
  assert.equal(scanOne('{"id":"\\u0061 1"}').id, '"\\u0061 1"');
  assert.equal(scanOne('{"id":42}').id, "42");
  assert.equal(scanOne('{"id":-12345678901234567890}').id, "-12345678901234567890");
});

const wrongShapes: readonly [record: string, field: string][] = [
  ["1", "a record"],
  ['"text"', "a record"],
  ["null", "a record"],
  ["[]", "a record"],
  ['{"partition":"1"}', "partition"],
  ['{"partition":1.0}', "partition"],
  ['{"partition":1e1}', "partition"],
  ['{"partition":2147483648}', "partition"],
  ['{"partition":true}', "partition"],
  ['{"timestamp":-1}', "timestamp"],
  ['{"timestamp":1.5}', "timestamp"],
  ['{"timestamp":9007199254740993}', "timestamp"],
  ['{"timestamp":"yesterday"}', "timestamp"],
  ['{"timestamp":"2021-02-30T00:00:00Z"}', "timestamp"],
  ['{"timestamp":"1969-12-31T00:00:00Z"}', "timestamp"],
  ['{"timestamp":{}}', "timestamp"],
  ['{"headers":{}}', "headers"],
  ['{"headers":[1]}', "headers[0]"],
  ['{"headers":[{"value":"v"}]}', "headers[0].key"],
  ['{"headers":[{"key":1}]}', "headers[0].key"],
  ['{"headers":[{"key":"a","value":"b"},{"key":"a","value":1}]}', "headers[1].value"],
  ['{"headers":[{"key":"a","encoding":"hex"}]}', "headers[0].encoding"],
  ['{"headers":[{"key":"a","key":"b"}]}', "headers[0].key"],
  ['{"id":1.5}', "id"],
  ['{"id":{}}', "id"],
  ['{"keyFormat":"xml"}', "keyFormat"],
  ['{"valueFormat":1}', "valueFormat"],
  ['{"value":1,"value":2}', "value"],
];

for (const [record, field] of wrongShapes) {
  test(`a record ${record} is refused, with its index and ${field}`, () => {
    const error = refusal(`{"records":[{},${record}]}`);

    assert.equal(error.code, "INVALID_BODY");
    assert.equal(error.details[0]?.index, 1);
    assert.equal(error.details[0]?.field, field);
  });
}

for (const body of [
  "[]",
  '"text"',
  "1",
  "null",
  '{"records":{}}',
  '{"records":1}',
  '{"records":[{}],"records":[{}]}',
]) {
  test(`a body ${body} is refused for its shape`, () => {
    assert.equal(refusal(body).code, "INVALID_BODY");
  });
}

for (const body of ["{}", '{"records":[]}', '{"records":null}', '{"record":[{}]}']) {
  test(`a body ${body} has no records`, () => {
    const error = refusal(body);

    assert.equal(error.code, "NO_RECORDS");
    assert.equal(error.message, "no records to produce");
  });
}

for (const body of [
  "",
  " ",
  "{",
  '{"records":[{}]',
  '{"records":[{}]}x',
  '{"records":[{}]}{}',
  '{"records":[{},]}',
  '{"records":[{}],}',
  '{"records":[{"value":1,}]}',
  '{"records":[{"value":nul}]}',
  "{'records':[]}",
  '{"records":[{"headers":[{"key":"a"},]}]}',
]) {
  test(`a body ${JSON.stringify(body)} is refused as JSON`, () => {
    assert.equal(refusal(body).code, "INVALID_JSON");
  });
}

test("an error in the JSON is told with line, column and record", () => {
  const error = refusal('{"records":[\n{"value":1},\n{"value":01}\n]}');

  assert.equal(error.message, 'invalid request body: expected "," or "}", found "1" (line 3, column 11 of record 1)');
  assert.deepEqual(error.details, [{ index: 1, line: 3, column: 11, message: 'expected "," or "}", found "1"' }]);
});

test("a body that is not UTF-8 is refused, with the place of the first wrong byte", () => {
  const body = Buffer.concat([
    Buffer.from('{"records":\n[{"value":"\ufffdé'),
    Buffer.from([0xff]),
    Buffer.from('"}]}'),
  ]);

  const error = refusal(body);

  assert.equal(error.code, "INVALID_JSON");
  assert.deepEqual([error.details[0]?.line, error.details[0]?.column], [2, 14]);
});

test("a byte order mark is refused by its name", () => {
  assert.match(refusal('\ufeff{"records":[{}]}').message, /byte order mark/);
});

test("more records than the limit are refused", () => {
  const body = Buffer.from(`{"records":[${new Array(11).fill("{}").join(",")}]}`);

  assert.throws(() => scanEnvelope(body, 10), { code: "TOO_MANY_RECORDS" });
  assert.equal(scanEnvelope(body, 11).length, 11);
});
