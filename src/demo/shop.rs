//! The shop at work: plays requests and leaves their spans, log lines and measurements through the SDK.

use super::instrumented::{Instrumented, Receiver};
use super::pool::{Acquired, Bottleneck, Lots};
use super::topology::{Flow, POOL_CONNECTIONS_MAX, SERVICES, flows};
use super::traffic::{self, Did, Request, STATUS_OK, Span as Played};
use opentelemetry::logs::Severity;
use opentelemetry::metrics::Counter;
use opentelemetry::trace::{
    Event, Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer,
};
use opentelemetry::{Context, KeyValue};
use rand::Rng;
use rand::rngs::StdRng;
use std::time::{Duration, SystemTime};

const COUNTRIES: [&str; 6] = ["DE", "FR", "NL", "AT", "ES", "IT"];
const METHODS: [&str; 3] = ["card", "paypal", "invoice"];

pub struct Shop {
    services: Vec<Instrumented>,
    flows: Vec<Flow>,
    bottleneck: Bottleneck,
    lots: Lots,
    rng: StdRng,
    orders: Counter<u64>,
    revenue: Counter<f64>,
    orders_placed: u64,
}

/// An order as the business sees it.
struct Order {
    number: u64,
    total: f64,
    items: u32,
    country: &'static str,
    method: &'static str,
}

impl Shop {
    /// Must be called inside the runtime that the channel lives in.
    pub fn open(receiver: &Receiver, bottleneck: Bottleneck, rng: StdRng) -> anyhow::Result<Shop> {
        let services = SERVICES
            .iter()
            .map(|service| Instrumented::new(service, &bottleneck, receiver))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let checkout = services
            .iter()
            .find(|service| service.name == "checkout")
            .ok_or_else(|| anyhow::anyhow!("the shop has no checkout"))?
            .meter();
        let orders = checkout
            .u64_counter("shop.orders")
            .with_unit("{order}")
            .with_description("Orders placed.")
            .build();
        let revenue = checkout
            .f64_counter("shop.revenue")
            .with_unit("EUR")
            .with_description("Value of the orders placed.")
            .build();
        let flows = flows(bottleneck.service);
        let lots = Lots::new(bottleneck);
        Ok(Shop { services, flows, bottleneck, lots, rng, orders, revenue, orders_placed: 0 })
    }

    /// How long until the next visitor comes, at a mean rate: visitors do not know of one another.
    pub fn next_visitor_in(&mut self, per_second: f64) -> Duration {
        let drawn: f64 = self.rng.random();
        Duration::from_secs_f64((-(1.0 - drawn).ln() / per_second).min(5.0))
    }

    /// Plays one request that ends now.
    pub fn serve_one(&mut self, now: SystemTime) {
        let Some(flow) = traffic::choose(&self.flows, &mut self.rng) else { return };
        let places_order = flow.places_order;
        let request = traffic::play(flow, &mut self.lots, &mut self.rng);
        // What outlives the answer (consumers of messages) ends now, so that no span lies in the future.
        let took = request.spans.iter().map(|span| span.end).max().unwrap_or_default();
        let start = now - took;
        let order = (places_order && !request.failed).then(|| self.draw_order());
        let contexts = self.leave_spans(&request, start, order.as_ref());
        for (span, context) in request.spans.iter().zip(&contexts) {
            self.measure(span, start, context);
        }
        if let Some(order) = order {
            self.book(&order, &request, &contexts, start);
        }
    }

    /// Sends what is buffered, all services at once, and ends them.
    pub async fn close(self) {
        let mut closing = tokio::task::JoinSet::new();
        for service in self.services {
            closing.spawn_blocking(move || service.shut_down());
        }
        while closing.join_next().await.is_some() {}
    }

    fn draw_order(&mut self) -> Order {
        self.orders_placed += 1;
        let items = self.rng.random_range(1..6);
        let cents: u32 = (0..items).map(|_| self.rng.random_range(499..7_999)).sum();
        Order {
            number: self.orders_placed,
            total: f64::from(cents) / 100.0,
            items,
            country: COUNTRIES[self.rng.random_range(0..COUNTRIES.len())],
            method: METHODS[self.rng.random_range(0..METHODS.len())],
        }
    }

    fn leave_spans(
        &mut self,
        request: &Request,
        start: SystemTime,
        order: Option<&Order>,
    ) -> Vec<SpanContext> {
        let customer = format!("c-{}", self.rng.random_range(1..5_000));
        let pool = self.bottleneck.pool();
        let mut contexts: Vec<SpanContext> = Vec::with_capacity(request.spans.len());
        for played in &request.spans {
            let parent = match played.parent.and_then(|parent| contexts.get(parent)) {
                Some(parent) => Context::new().with_remote_span_context(parent.clone()),
                None => Context::new(),
            };
            let (mut builder, status) = described(played, start, &pool);
            if played.parent.is_none() {
                let attributes = builder.attributes.get_or_insert_default();
                attributes.push(KeyValue::new("enduser.id", customer.clone()));
                if let Some(order) = order {
                    attributes.push(KeyValue::new("shop.order.id", order_id(order)));
                    attributes.push(KeyValue::new("shop.order.total", order.total));
                }
            }
            let mut span = self.services[played.service].tracer.build_with_context(builder, &parent);
            span.set_status(status);
            contexts.push(span.span_context().clone());
            span.end_with_timestamp(start + played.end);
        }
        contexts
    }

    /// What a span adds to metrics and logs of its service.
    fn measure(&self, span: &Played, start: SystemTime, context: &SpanContext) {
        let service = &self.services[span.service];
        let took = span.end - span.start;
        let end = start + span.end;
        match &span.did {
            Did::Serve { method, route, status } => {
                service.requests.record(took.as_secs_f64(), &http_attributes(method, route, *status));
                log_served(service, span.parent.is_none(), (method, route, *status), (end, took), context);
            }
            Did::Ask { method, status, of, .. } => service.calls.record(
                took.as_secs_f64(),
                &[
                    KeyValue::new("http.request.method", *method),
                    KeyValue::new("http.response.status_code", i64::from(*status)),
                    KeyValue::new("server.address", *of),
                ],
            ),
            Did::Statement { system, operation, table } => service.statements.record(
                took.as_secs_f64(),
                &[
                    KeyValue::new("db.system.name", *system),
                    KeyValue::new("db.operation.name", *operation),
                    KeyValue::new("db.collection.name", *table),
                ],
            ),
            Did::AcquireConnection(acquired) => measure_pool(service, *acquired, start + span.start, context),
            Did::Consume { topic } => {
                service.consumed.record(
                    took.as_secs_f64(),
                    &[
                        KeyValue::new("messaging.system", "kafka"),
                        KeyValue::new("messaging.destination.name", *topic),
                    ],
                );
                service.log(
                    end,
                    Severity::Info,
                    format!("consumed {topic} in {:.1} ms", took.as_secs_f64() * 1e3),
                    context,
                    vec![("messaging.destination.name", (*topic).into())],
                );
            }
            Did::Publish { .. } => {}
        }
    }

    fn book(&self, order: &Order, request: &Request, contexts: &[SpanContext], start: SystemTime) {
        let attributes = [
            KeyValue::new("shop.country", order.country),
            KeyValue::new("shop.payment.method", order.method),
        ];
        self.orders.add(1, &attributes);
        self.revenue.add(order.total, &attributes);
        let checkout = request.spans.iter().zip(contexts).find(|(span, _)| {
            matches!(span.did, Did::Serve { .. }) && self.services[span.service].name == "checkout"
        });
        let Some((span, context)) = checkout else { return };
        self.services[span.service].log(
            start + span.end,
            Severity::Info,
            format!(
                "order placed order_id={} total={:.2} currency=EUR items={} country={} payment={}",
                order_id(order),
                order.total,
                order.items,
                order.country,
                order.method
            ),
            context,
            vec![("shop.order.id", order_id(order).into()), ("shop.order.total", order.total.into())],
        );
    }
}

fn order_id(order: &Order) -> String {
    format!("o-{:06}", order.number)
}

fn http_attributes(method: &'static str, route: &'static str, status: u16) -> Vec<KeyValue> {
    vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("http.route", route),
        KeyValue::new("http.response.status_code", i64::from(status)),
        KeyValue::new("url.scheme", "http"),
    ]
}

/// Name, kind, time, attributes and events of a span, and the status it ends with.
fn described(played: &Played, start: SystemTime, pool: &str) -> (SpanBuilder, Status) {
    let (name, kind, attributes) = match &played.did {
        Did::Serve { method, route, status } => {
            (format!("{method} {route}"), SpanKind::Server, http_attributes(method, route, *status))
        }
        Did::Ask { method, route, status, of } => (
            (*method).to_owned(),
            SpanKind::Client,
            vec![
                KeyValue::new("http.request.method", *method),
                KeyValue::new("http.response.status_code", i64::from(*status)),
                KeyValue::new("server.address", *of),
                KeyValue::new("url.full", format!("http://{of}:8080{route}")),
            ],
        ),
        Did::Statement { system, operation, table } => (
            format!("{operation} {table}"),
            SpanKind::Client,
            vec![
                KeyValue::new("db.system.name", *system),
                KeyValue::new("db.operation.name", *operation),
                KeyValue::new("db.collection.name", *table),
                KeyValue::new("server.address", format!("{system}.{table}.svc")),
            ],
        ),
        Did::AcquireConnection(acquired) => (
            "pool.acquire".to_owned(),
            SpanKind::Internal,
            vec![
                KeyValue::new("db.client.connection.pool.name", pool.to_owned()),
                KeyValue::new("db.client.connection.max", POOL_CONNECTIONS_MAX as i64),
                KeyValue::new("db.client.connection.wait_ms", acquired.wait.as_secs_f64() * 1e3),
                KeyValue::new("db.client.connection.exhausted", acquired.exhausted),
            ],
        ),
        Did::Publish { topic } => {
            (format!("publish {topic}"), SpanKind::Producer, messaging(topic, "publish"))
        }
        Did::Consume { topic } => {
            (format!("process {topic}"), SpanKind::Consumer, messaging(topic, "process"))
        }
    };
    let mut builder = SpanBuilder::from_name(name)
        .with_kind(kind)
        .with_start_time(start + played.start)
        .with_attributes(attributes);
    if let Did::AcquireConnection(Acquired { exhausted: true, .. }) = played.did {
        let pool = vec![KeyValue::new("db.client.connection.pool.name", pool.to_owned())];
        builder = builder.with_events(vec![
            Event::new("pool.exhausted", start + played.start, pool.clone(), 0),
            Event::new("pool.connection_acquired", start + played.end, pool, 0),
        ]);
    }
    (builder, status_of(&played.did))
}

fn messaging(topic: &'static str, operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", topic),
        KeyValue::new("messaging.operation.type", operation),
    ]
}

/// As the semantic conventions have it: a server's 5xx and a client's 4xx and 5xx are errors.
fn status_of(did: &Did) -> Status {
    match did {
        Did::Serve { status, .. } | Did::Ask { status, .. } if *status != STATUS_OK => {
            Status::error(format!("HTTP {status}"))
        }
        _ => Status::Unset,
    }
}

/// Of the requests that a service behind the door answers well it writes down one in so many.
const LOGGED_ONE_IN: u8 = 10;

/// The door writes an access line for each request as JSON; others write what went wrong, and a sample of the rest.
fn log_served(
    service: &Instrumented,
    is_door: bool,
    (method, route, status): (&'static str, &'static str, u16),
    (end, took): (SystemTime, Duration),
    context: &SpanContext,
) {
    let took_ms = took.as_secs_f64() * 1e3;
    let failed = status != STATUS_OK;
    let severity = if failed { Severity::Error } else { Severity::Info };
    let body = match (is_door, status) {
        (true, _) => format!(
            r#"{{"level":"{}","msg":"request","method":"{method}","route":"{route}","status":{status},"duration_ms":{took_ms:.1}}}"#,
            if failed { "error" } else { "info" }
        ),
        (false, traffic::STATUS_TIMEOUT) => {
            format!("{method} {route}: timeout after {took_ms:.0} ms, the bank did not answer")
        }
        (false, traffic::STATUS_UPSTREAM_FAILED) => {
            format!("{method} {route} failed after {took_ms:.0} ms: upstream timeout")
        }
        // By the span's id, which is random: the sample is the same for who reads the trace.
        (false, _) if context.span_id().to_bytes()[7].is_multiple_of(LOGGED_ONE_IN) => {
            format!("{method} {route} answered {status} in {took_ms:.1} ms")
        }
        _ => return,
    };
    service.log(
        end,
        severity,
        body,
        context,
        vec![("http.route", route.into()), ("duration_ms", took_ms.into())],
    );
}

fn measure_pool(service: &Instrumented, acquired: Acquired, at: SystemTime, context: &SpanContext) {
    let Some(pool) = &service.pool else { return };
    let attributes = [KeyValue::new("db.client.connection.pool.name", pool.name.clone())];
    pool.wait.record(acquired.wait.as_secs_f64(), &attributes);
    let pending = pool.state.lock().unwrap_or_else(|held| held.into_inner()).observe(at, acquired);
    if !acquired.exhausted {
        return;
    }
    pool.exhausted.add(1, &attributes);
    let wait_ms = acquired.wait.as_secs_f64() * 1e3;
    service.log(
        at + acquired.wait,
        Severity::Warn,
        format!(
            "connection pool {} exhausted: waited {wait_ms:.0} ms for a connection \
             ({POOL_CONNECTIONS_MAX} of {POOL_CONNECTIONS_MAX} in use, {pending} waiting)",
            pool.name
        ),
        context,
        vec![
            ("db.client.connection.pool.name", pool.name.clone().into()),
            ("db.client.connection.wait_ms", wait_ms.into()),
            ("db.client.connection.pending_requests", (pending as i64).into()),
        ],
    );
}
