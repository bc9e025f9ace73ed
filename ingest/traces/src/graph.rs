//! The service graph: a request from one service to another is a client's span and the server's span below it, and comes
//! in two batches, in any order. A half waits for the other for a while; then a call whose other end sends no spans is
//! told by what the half knows of it.
//!
//! The half of who sent a message stays for that while even when a pair was found: a message has as many as consumers. Names
//! of metrics and labels, and what a node without spans is called, are those of Tempo's metrics-generator.

mod calls;
mod half;
mod halves;

pub(crate) use calls::METADATA;
pub(crate) use half::{Half, Peer, Telling};

use crate::export::Export;
use calls::Calls;
use half::{Connection, Side};
use halves::{Halves, Key};
use std::collections::VecDeque;

/// Longer than a batch is held back by a sender and its agent.
pub(crate) const WAIT_MS: i64 = 30_000;
/// Halves that wait, about 200 bytes each; further ones are dropped and counted.
const HALVES_MAX: usize = 200_000;
/// So many halves that have gone before their time may stand in the queue of those that wait.
const GONE_MAX: usize = 32_768;
/// Who asks from outside, where nothing says more.
const USER: &str = "user";

struct Client {
    side: Side,
    found: bool,
}

/// Servers of one request whose client has not come; more than one is rare.
struct Servers {
    first: Side,
    more: Vec<Side>,
}

impl Servers {
    fn iter(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn has_messages(&self) -> bool {
        self.iter().any(Side::is_of_message)
    }
}

#[derive(Default)]
pub(crate) struct Graph {
    clients: Halves<Client>,
    servers: Halves<Servers>,
    /// Which half has waited until when, oldest first; `true` is the client's.
    waiting: VecDeque<(i64, bool, Key)>,
    /// Of those that wait, the ones that are in neither map any more.
    gone: usize,
    /// Clients that wait although a pair was found.
    found: usize,
    calls: Calls,
    pub dropped_halves: u64,
    pub expired_halves: u64,
}

impl Graph {
    pub fn add(&mut self, half: Half, now_ms: i64) {
        let Half { trace, client_span, is_client, side } = half;
        let Some(span) = client_span else {
            // Nobody's span asked: it came from outside.
            let client = side.peer.as_deref().unwrap_or(USER).to_owned();
            return self.calls.add(
                (&client, &side.service),
                Connection::Virtual,
                (&side, &side),
                trace,
                now_ms,
            );
        };
        let key = (trace, span);
        match (is_client, side.connection) {
            (true, Connection::Database) => {
                let server = side.peer.as_deref().unwrap_or_default();
                self.calls.add((&side.service, server), side.connection, (&side, &side), trace, now_ms);
            }
            (true, _) => self.add_client(key, side, now_ms),
            (false, _) => self.add_server(key, side, now_ms),
        }
    }

    fn add_client(&mut self, key: Key, side: Side, now_ms: i64) {
        let early = self.servers.remove(&key);
        let mut more_may_come = true;
        if let Some(early) = &early {
            early.iter().for_each(|server| self.calls.pair(&side, server, key.0, now_ms));
            self.gone += 1 + early.more.len();
            more_may_come = side.is_of_message() || early.has_messages();
        }
        if more_may_come && self.has_room() {
            self.found += usize::from(early.is_some());
            self.waiting.push_back((now_ms + WAIT_MS, true, key));
            self.clients.insert(key, Client { side, found: early.is_some() });
        }
    }

    fn add_server(&mut self, key: Key, side: Side, now_ms: i64) {
        if let Some(client) = self.clients.get_mut(&key) {
            self.calls.pair(&client.side, &side, key.0, now_ms);
            if client.side.is_of_message() || side.is_of_message() {
                self.found += usize::from(!client.found);
                client.found = true;
            } else {
                self.found = self.found.saturating_sub(usize::from(client.found));
                self.clients.remove(&key);
                self.gone += 1;
            }
            return;
        }
        if !self.has_room() {
            return;
        }
        self.waiting.push_back((now_ms + WAIT_MS, false, key));
        match self.servers.get_mut(&key) {
            Some(known) => known.more.push(side),
            None => self.servers.insert(key, Servers { first: side, more: vec![] }),
        }
    }

    fn has_room(&mut self) -> bool {
        // A pair was found for most; a second one is rare, so these go first, many at a time.
        if self.waiting() >= HALVES_MAX && self.found > HALVES_MAX / 10 {
            self.clients.retain(|client| !client.found);
            self.gone += self.found;
            self.found = 0;
        }
        if self.gone > GONE_MAX {
            let (clients, servers) = (&self.clients, &self.servers);
            self.waiting.retain(|(_, is_client, key)| match is_client {
                true => clients.has(key),
                false => servers.has(key),
            });
            self.gone = 0;
        }
        let room = self.waiting() < HALVES_MAX;
        self.dropped_halves += u64::from(!room);
        room
    }

    /// Gives up waiting where it was long enough: a call that names its other end was one to a node without spans.
    pub fn give_up(&mut self, now_ms: i64) {
        while let Some((_, is_client, key)) =
            self.waiting.pop_front_if(|(until_ms, _, _)| *until_ms <= now_ms)
        {
            if !is_client {
                match self.servers.remove(&key) {
                    Some(sides) => self.expired_halves += sides.iter().count() as u64,
                    None => self.gone = self.gone.saturating_sub(1),
                }
                continue;
            }
            let Some(Client { side, found }) = self.clients.remove(&key) else {
                self.gone = self.gone.saturating_sub(1);
                continue;
            };
            if found {
                self.found = self.found.saturating_sub(1);
                continue;
            }
            match side.peer.as_deref() {
                Some(peer) => {
                    let nodes = (&*side.service, peer);
                    self.calls.add(nodes, Connection::Virtual, (&side, &side), key.0, now_ms);
                }
                None => self.expired_halves += 1,
            }
        }
    }

    pub fn export(&mut self, out: &mut Export<'_>, born_ms: i64) {
        self.calls.export(out, born_ms);
    }

    /// As [`Calls::expire`].
    pub fn expire(&mut self, before_ms: i64, now_ms: i64, out: &mut Export<'_>) {
        self.calls.expire(before_ms, now_ms, out);
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Calls that were counted under [`OVERFLOW`](crate::names::OVERFLOW).
    pub fn overflowed(&self) -> u64 {
        self.calls.overflowed
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len().saturating_sub(self.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Span, SpanKind};
    use std::sync::Arc;

    /// Both ends of calls, as they come.
    fn add_calls(graph: &mut Graph, ends: [SpanKind; 2], calls: u64) {
        let (shop, stock): (Arc<str>, Arc<str>) = ("shop".into(), "stock".into());
        for number in 1..=calls {
            for kind in ends {
                let (trace_id, id) = ([7; 16], number.to_be_bytes());
                let asks = matches!(kind, SpanKind::Client | SpanKind::Producer);
                let (service, span) = match asks {
                    true => (&shop, Span { kind, trace_id, span_id: id, ..Span::default() }),
                    false => (&stock, Span { kind, trace_id, parent_span_id: Some(id), ..Span::default() }),
                };
                let half = Half::of(service, &Peer::default(), &span, 1.0, &mut Telling::default());
                graph.add(half.unwrap(), 0);
            }
        }
    }

    /// More messages at a time than may wait: those that have a consumer make room, and no pair is lost.
    #[test]
    fn what_has_its_pair_makes_room() {
        let mut graph = Graph::default();
        let calls = HALVES_MAX as u64 + 1_000;
        add_calls(&mut graph, [SpanKind::Producer, SpanKind::Consumer], calls);
        assert_eq!(graph.calls.requests("shop", "stock", Connection::Messaging), calls as f64);
        assert_eq!((graph.dropped_halves, graph.len()), (0, 1));
        assert!(graph.waiting() <= HALVES_MAX && graph.waiting.len() <= HALVES_MAX + GONE_MAX);
        graph.give_up(WAIT_MS);
        assert_eq!((graph.waiting(), graph.clients.len(), graph.found, graph.expired_halves), (0, 0, 0, 0));
        assert_eq!((graph.waiting.len(), graph.gone), (0, 0));
    }

    /// A request has one server: neither end waits on, in whichever order they come.
    #[test]
    fn requests_do_not_wait_when_both_ends_came() {
        for ends in [[SpanKind::Client, SpanKind::Server], [SpanKind::Server, SpanKind::Client]] {
            let mut graph = Graph::default();
            let calls = 2 * GONE_MAX as u64;
            add_calls(&mut graph, ends, calls);
            assert_eq!((graph.waiting(), graph.clients.len(), graph.servers.len()), (0, 0, 0));
            assert!(graph.waiting.len() <= GONE_MAX + 1, "{}", graph.waiting.len());
            assert_eq!(graph.calls.requests("shop", "stock", Connection::Direct), calls as f64);
        }
    }
}
