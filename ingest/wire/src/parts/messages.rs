//! Which fields of the messages that come here hold further messages, and which of OTLP's are texts (sources:
//! opentelemetry-proto 1.x, Prometheus' remote write 1.0 and 2.0, Loki's push, Jaeger's api_v2, Zipkin's v2).

/// Fields that hold messages, and those that are texts.
pub struct Message(&'static [(u32, Held)], &'static [u32]);

/// A message in a message.
pub(super) struct Held {
    pub repeated: bool,
    pub message: &'static Message,
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Held> {
        self.0.iter().find(|(field, _)| *field == number).map(|(_, held)| held)
    }

    pub(super) fn is_text(&self, number: u32) -> bool {
        self.1.contains(&number)
    }
}

const fn many(message: &'static Message) -> Held {
    Held { repeated: true, message }
}

const fn one(message: &'static Message) -> Held {
    Held { repeated: false, message }
}

/// Holds none.
static LEAF: Message = Message(&[], &[]);

static ANY: Message = Message(&[(5, one(&LIST)), (6, one(&PAIRS))], &[1]);
static LIST: Message = Message(&[(1, many(&ANY))], &[]);
static PAIRS: Message = Message(&[(1, many(&PAIR))], &[]);
static PAIR: Message = Message(&[(2, one(&ANY))], &[1]);
static RESOURCE: Message = Message(&[(1, many(&PAIR)), (3, many(&ENTITY))], &[]);
static ENTITY: Message = Message(&[], &[1, 2, 3, 4]);
static SCOPE: Message = Message(&[(3, many(&PAIR))], &[1, 2]);

/// OTLP's logs.
pub static LOGS: Message = Message(&[(1, many(&RESOURCE_LOGS))], &[]);
static RESOURCE_LOGS: Message = Message(&[(1, one(&RESOURCE)), (2, many(&SCOPE_LOGS))], &[3]);
static SCOPE_LOGS: Message = Message(&[(1, one(&SCOPE)), (2, many(&LOG_RECORD))], &[3]);
static LOG_RECORD: Message = Message(&[(5, one(&ANY)), (6, many(&PAIR))], &[3, 12]);

/// OTLP's traces.
pub static TRACES: Message = Message(&[(1, many(&RESOURCE_SPANS))], &[]);
static RESOURCE_SPANS: Message = Message(&[(1, one(&RESOURCE)), (2, many(&SCOPE_SPANS))], &[3]);
static SCOPE_SPANS: Message = Message(&[(1, one(&SCOPE)), (2, many(&SPAN))], &[3]);
static SPAN: Message =
    Message(&[(9, many(&PAIR)), (11, many(&EVENT)), (13, many(&LINK)), (15, one(&STATUS))], &[3, 5]);
static STATUS: Message = Message(&[], &[2]);
static EVENT: Message = Message(&[(3, many(&PAIR))], &[2]);
static LINK: Message = Message(&[(4, many(&PAIR))], &[3]);

/// OTLP's metrics.
pub static METRICS: Message = Message(&[(1, many(&RESOURCE_METRICS))], &[]);
static RESOURCE_METRICS: Message = Message(&[(1, one(&RESOURCE)), (2, many(&SCOPE_METRICS))], &[3]);
static SCOPE_METRICS: Message = Message(&[(1, one(&SCOPE)), (2, many(&METRIC))], &[3]);
static METRIC: Message = Message(
    &[
        (5, one(&NUMBERS)),
        (7, one(&NUMBERS)),
        (9, one(&HISTOGRAMS)),
        (10, one(&EXPONENTIALS)),
        (11, one(&SUMMARIES)),
        (12, many(&PAIR)),
    ],
    &[1, 2, 3],
);
static NUMBERS: Message = Message(&[(1, many(&NUMBER))], &[]);
static NUMBER: Message = Message(&[(7, many(&PAIR)), (5, many(&EXEMPLAR))], &[]);
static HISTOGRAMS: Message = Message(&[(1, many(&HISTOGRAM))], &[]);
static HISTOGRAM: Message = Message(&[(9, many(&PAIR)), (8, many(&EXEMPLAR))], &[]);
static EXPONENTIALS: Message = Message(&[(1, many(&EXPONENTIAL))], &[]);
static EXPONENTIAL: Message = Message(&[(1, many(&PAIR)), (11, many(&EXEMPLAR))], &[]);
static SUMMARIES: Message = Message(&[(1, many(&SUMMARY))], &[]);
static SUMMARY: Message = Message(&[(7, many(&PAIR)), (6, many(&LEAF))], &[]);
static EXEMPLAR: Message = Message(&[(7, many(&PAIR))], &[]);

/// `prometheus.WriteRequest`; labels are not told, as they become no messages here.
pub static REMOTE_WRITE: Message = Message(&[(1, many(&SERIES)), (3, many(&LEAF))], &[]);
static SERIES: Message = Message(&[(2, many(&LEAF)), (3, many(&LEAF)), (4, many(&LEAF))], &[]);

/// `io.prometheus.write.v2.Request`. Its symbols are texts.
pub static REMOTE_WRITE_2: Message = Message(&[(4, many(&LEAF)), (5, many(&SERIES_2))], &[]);
static SERIES_2: Message = Message(&[(2, many(&LEAF)), (3, many(&LEAF)), (4, many(&LEAF))], &[]);

/// `logproto.PushRequest`.
pub static LOKI_PUSH: Message = Message(&[(1, many(&STREAM))], &[]);
static STREAM: Message = Message(&[(2, many(&ENTRY))], &[]);
static ENTRY: Message = Message(&[(3, many(&LEAF))], &[]);

/// `jaeger.api_v2.PostSpansRequest`.
pub static JAEGER: Message = Message(&[(1, one(&JAEGER_BATCH))], &[]);
static JAEGER_BATCH: Message = Message(&[(1, many(&JAEGER_SPAN)), (2, one(&JAEGER_PROCESS))], &[]);
static JAEGER_SPAN: Message =
    Message(&[(4, many(&LEAF)), (8, many(&LEAF)), (9, many(&JAEGER_LOG)), (10, one(&JAEGER_PROCESS))], &[]);
static JAEGER_PROCESS: Message = Message(&[(2, many(&LEAF))], &[]);
static JAEGER_LOG: Message = Message(&[(2, many(&LEAF))], &[]);

/// `zipkin.proto3.ListOfSpans`.
pub static ZIPKIN: Message = Message(&[(1, many(&ZIPKIN_SPAN))], &[]);
static ZIPKIN_SPAN: Message = Message(&[(10, many(&LEAF)), (11, many(&LEAF))], &[]);
