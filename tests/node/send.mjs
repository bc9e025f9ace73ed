// Sends a failed span with a child, an event and a link by the OpenTelemetry SDK: node send.mjs grpc|proto|json URL.

import { SpanKind, SpanStatusCode, context, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as Grpc } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as Json } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as Proto } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const [kind, address] = process.argv.slice(2);
const exporter = kind === "grpc" ? new Grpc({ url: address }) : new { proto: Proto, json: Json }[kind]({ url: `${address}/v1/traces` });
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": `node-${kind}` }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
const tracer = provider.getTracer("shop", "1.2.3");
const before = tracer.startSpan("before", { root: true });
before.end();
const order = tracer.startSpan("order", { root: true, kind: SpanKind.SERVER, attributes: { customer: "c-1", items: [1, 2], total: 9.5, first: true }, links: [{ context: before.spanContext() }] });
const pay = tracer.startSpan("pay", { kind: SpanKind.CLIENT }, trace.setSpan(context.active(), order));
pay.addEvent("retry", { attempt: 2 });
pay.setStatus({ code: SpanStatusCode.ERROR, message: "card refused" });
pay.end();
order.end();
await provider.shutdown();
