//! One request as the spans it will leave: which service did what, from when to when, under which parent.
//!
//! Pure: random numbers and the tree of calls go in, a flat list of spans with offsets from the request's start comes out.

use super::pool::{Acquired, Lots};
use super::topology::{Call, Flow, Op, index_of};
use rand::Rng;
use std::time::Duration;

/// What a request did. Spans are in the order in which they started, the root first.
pub struct Request {
    pub spans: Vec<Span>,
    pub failed: bool,
}

pub struct Span {
    pub service: usize,
    pub parent: Option<usize>,
    pub start: Duration,
    pub end: Duration,
    pub did: Did,
}

pub enum Did {
    Serve { method: &'static str, route: &'static str, status: u16 },
    Ask { method: &'static str, route: &'static str, status: u16, of: &'static str },
    Statement { system: &'static str, operation: &'static str, table: &'static str },
    AcquireConnection(Acquired),
    Publish { topic: &'static str },
    Consume { topic: &'static str },
}

/// One way over the network inside the cluster.
const NETWORK: Duration = Duration::from_micros(250);
/// How long a call that times out lasts.
const TIMEOUT: Duration = Duration::from_millis(800);

pub const STATUS_OK: u16 = 200;
pub const STATUS_UPSTREAM_FAILED: u16 = 502;
pub const STATUS_TIMEOUT: u16 = 504;

/// Chooses a flow by its weight.
pub fn choose<'f>(flows: &'f [Flow], rng: &mut impl Rng) -> Option<&'f Flow> {
    let total: u32 = flows.iter().map(|flow| flow.weight).sum();
    if total == 0 {
        return None;
    }
    let mut left = rng.random_range(0..total);
    flows.iter().find(|flow| match left.checked_sub(flow.weight) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

/// Plays one request of a flow.
pub fn play(flow: &Flow, lots: &mut Lots, rng: &mut impl Rng) -> Request {
    let mut playing = Playing { spans: Vec::with_capacity(48), lots, rng };
    let ended = playing.serve(&flow.root, None, Duration::ZERO);
    Request { spans: playing.spans, failed: ended.status != STATUS_OK }
}

struct Playing<'r, R> {
    spans: Vec<Span>,
    lots: &'r mut Lots,
    rng: &'r mut R,
}

/// When something ended, and how.
#[derive(Clone, Copy)]
struct Ended {
    at: Duration,
    status: u16,
}

impl<R: Rng> Playing<'_, R> {
    fn serve(&mut self, call: &Call, parent: Option<usize>, start: Duration) -> Ended {
        let did = match call.op {
            Op::Http { method, route } => Did::Serve { method, route, status: STATUS_OK },
            Op::Message { topic } => Did::Consume { topic },
            Op::Database { .. } => return self.statement(call, parent, start),
        };
        let span = self.begin(call, parent, start, did);
        let own = self.own_time(call);
        let mut ended = Ended { at: start + own.mul_f64(0.4), status: STATUS_OK };
        if self.rng.random_ratio(call.timeouts_per_mille.min(1000), 1000) {
            ended = Ended { at: start + TIMEOUT, status: STATUS_TIMEOUT };
        }
        for child in &call.calls {
            if ended.status != STATUS_OK {
                break;
            }
            ended = self.ask(call, child, span, ended.at);
        }
        // Who asked a service that failed answers that the service behind it failed.
        if ended.status == STATUS_TIMEOUT && call.timeouts_per_mille == 0 {
            ended.status = STATUS_UPSTREAM_FAILED;
        }
        ended.at += own.mul_f64(0.6);
        self.end(span, ended);
        ended
    }

    /// What a service does for a request beyond its own work: calls another, runs a statement, leaves a message.
    fn ask(&mut self, caller: &Call, call: &Call, parent: usize, start: Duration) -> Ended {
        match call.op {
            Op::Database { .. } => self.statement(call, Some(parent), start),
            Op::Http { method, route } => {
                let did = Did::Ask { method, route, status: STATUS_OK, of: call.service };
                let span = self.begin(caller, Some(parent), start, did);
                let served = self.serve(call, Some(span), start + NETWORK);
                let ended = Ended { at: served.at + NETWORK, status: served.status };
                self.end(span, ended);
                ended
            }
            Op::Message { topic } => {
                let span = self.begin(caller, Some(parent), start, Did::Publish { topic });
                let sent = Ended { at: start + NETWORK * 2, status: STATUS_OK };
                self.end(span, sent);
                let lag = Duration::from_micros(self.rng.random_range(2_000..15_000));
                self.serve(call, Some(span), sent.at + lag);
                sent
            }
        }
    }

    fn statement(&mut self, call: &Call, parent: Option<usize>, mut start: Duration) -> Ended {
        let Op::Database { system, operation, table, pooled } = call.op else {
            return Ended { at: start, status: STATUS_OK };
        };
        if pooled {
            let acquired = self.lots.acquire(self.rng);
            let span = self.begin(call, parent, start, Did::AcquireConnection(acquired));
            start += acquired.wait;
            self.end(span, Ended { at: start, status: STATUS_OK });
        }
        let span = self.begin(call, parent, start, Did::Statement { system, operation, table });
        let ended = Ended { at: start + self.own_time(call), status: STATUS_OK };
        self.end(span, ended);
        ended
    }

    fn begin(&mut self, by: &Call, parent: Option<usize>, start: Duration, did: Did) -> usize {
        // A name that the table does not have cannot happen (a test walks all flows); the first service stands in.
        let service = index_of(by.service).unwrap_or(0);
        self.spans.push(Span { service, parent, start, end: start, did });
        self.spans.len() - 1
    }

    fn end(&mut self, span: usize, ended: Ended) {
        let span = &mut self.spans[span];
        span.end = ended.at;
        if let Did::Serve { status, .. } | Did::Ask { status, .. } = &mut span.did {
            *status = ended.status;
        }
    }

    /// Around the median, skewed to the slow side as real services are.
    fn own_time(&mut self, call: &Call) -> Duration {
        let drawn: f64 = self.rng.random();
        Duration::from_secs_f64(call.own_ms / 1e3 * (0.7 + 0.5 * drawn + 1.2 * drawn.powi(8)))
    }
}

#[cfg(test)]
mod tests;
