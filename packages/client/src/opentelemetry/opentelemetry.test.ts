import assert from "node:assert/strict";
import { after, before, beforeEach, suite, test } from "node:test";
import { type StartedBroker, startBroker } from "@millrace/testing";
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { Producer } from "../producer/producer.ts";
import { Reader } from "../reader.ts";
import { extractContext, TracedProducer, traceProduceRequests } from "./index.ts";

suite("OpenTelemetry", () => {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  let started: StartedBroker;
  let producer: Producer;

  before(async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    started = await startBroker({ defaultPartitions: 1 });
    producer = new Producer({ bootstrapServers: started.server });
  });

  beforeEach(() => exporter.reset());

  after(async () => {
    await producer.close();
    await started.close();
    context.disable();
    propagation.disable();
  });

  test("a send is a span that ends with where the record landed", async () => {
    const traced = new TracedProducer(producer, { tracerProvider });

    const metadata = await traced.send({ topic: "orders", key: "secret key", value: "secret value" });

    const [span] = exporter.getFinishedSpans();
    assert.equal(span?.name, "send orders");
    assert.equal(span.kind, SpanKind.PRODUCER);
    assert.equal(span.attributes["messaging.destination.partition.id"], "0");
    assert.equal(span.attributes["messaging.kafka.offset"], Number(metadata.offset));
    assert.doesNotMatch(JSON.stringify(span.attributes), /secret/);
  });

  test("the span of a produce ends with the delivery's fate", async () => {
    const traced = new TracedProducer(producer, { tracerProvider });

    const delivery = await traced.produce({ topic: "orders", value: "v" });
    const { offset } = await delivery.acknowledged;
    await assert.rejects(traced.produce({ topic: "orders", value: 42 }));

    const [acknowledged, refused] = exporter.getFinishedSpans();
    assert.equal(acknowledged?.attributes["messaging.kafka.offset"], Number(offset));
    assert.equal(refused?.attributes["error.type"], "SERIALIZATION_FAILED");
  });

  test("a send that fails says so in its span", async () => {
    const traced = new TracedProducer(producer, { tracerProvider });

    await assert.rejects(traced.send({ topic: "orders", value: 42 }));

    const [span] = exporter.getFinishedSpans();
    assert.equal(span?.status.code, SpanStatusCode.ERROR);
    assert.equal(span.attributes["error.type"], "SERIALIZATION_FAILED");
    assert.equal(span.attributes["millrace.persisted"], "no");
  });

  test("whoever reads a record goes on with the trace of its send, and other headers stay as they were", async () => {
    const traced = new TracedProducer(producer, { tracerProvider, injectContext: true });
    const headers = [
      ["a", "1"],
      ["a", "2"],
      ["traceparent", "old"],
    ] as const;

    await tracerProvider.getTracer("test").startActiveSpan("request", async (request) => {
      await traced.sendBatch([{ topic: "traced", value: "v", headers }]);
      request.end();
    });

    await using reader = new Reader({ bootstrapServers: started.server, topic: "traced" });
    const [record] = await reader.read();
    assert.ok(record !== undefined);
    const [sent, request] = exporter.getFinishedSpans();
    assert.equal(sent?.parentSpanContext?.spanId, request?.spanContext().spanId);
    assert.deepEqual(trace.getSpanContext(extractContext(record))?.spanId, sent?.spanContext().spanId);
    assert.deepEqual(
      record.headers.map(([name]) => name),
      ["a", "a", "traceparent"],
    );
  });

  test("no context is written into headers unless asked for", async () => {
    await new TracedProducer(producer, { tracerProvider }).send({ topic: "plain", value: "v" });

    await using reader = new Reader({ bootstrapServers: started.server, topic: "plain" });
    assert.deepEqual((await reader.read())[0]?.headers, []);
  });

  test("produce requests are spans while it is asked for", async () => {
    const stop = traceProduceRequests({ tracerProvider });
    await producer.sendBatch([1, 2, 3].map((value) => ({ topic: "orders", value: String(value) })));
    stop();
    await producer.send({ topic: "orders", value: "v" });

    const spans = exporter.getFinishedSpans();
    assert.equal(spans.length, 1);
    assert.match(spans[0]?.name ?? "", /^produce broker \d+$/);
    assert.equal(spans[0]?.attributes["messaging.batch.message_count"], 3);
  });
});
