//! The service graph: a request from one service to another is a client's span and the server's span below it, and comes
//! in two batches, in any order. A half waits for the other for a while; then a call whose other end sends no spans is
//! told by what the half knows of it.
//!
//! The half of who sent a message stays for that while even when a pair was found: a message has as many as consumers. Names
//! of metrics and labels, and what a node without spans is called, are those of Tempo's metrics-generator.

use crate::export::Export;
use crate::latency::Latency;
use crate::names::OVERFLOW;
use crate::slab::Slab;
use foldhash::HashMap;
use model::{Attributes, MetricKind, Packed, Shape, Span, SpanId, SpanKind, StatusCode, TraceId, Value};
use std::collections::VecDeque;
use std::sync::Arc;

const REQUESTS: &str = "traces_service_graph_request_total";
const FAILED: &str = "traces_service_graph_request_failed_total";
const SERVER: &str = "traces_service_graph_request_server_seconds";
const CLIENT: &str = "traces_service_graph_request_client_seconds";
pub(crate) const METADATA: [(&str, MetricKind, &str); 4] = [
    (REQUESTS, MetricKind::Counter, "Requests from one service to another"),
    (FAILED, MetricKind::Counter, "Requests from one service to another that failed on either side"),
    (SERVER, MetricKind::Histogram, "Seconds that a request took as its server saw it"),
    (CLIENT, MetricKind::Histogram, "Seconds that a request took as its client saw it"),
];

/// Seconds: from 100 ms by twos, as Tempo's.
const BOUNDS: [f64; 8] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8];
/// Longer than a batch is held back by a sender and its agent.
pub(crate) const WAIT_MS: i64 = 30_000;
/// Halves that wait, about 200 bytes each; further ones are dropped and counted.
const HALVES_MAX: usize = 200_000;
/// Edges of one tenant, each about 30 series.
const EDGES_MAX: usize = 5_000;
/// Once half of them are there, no node has more on either side than an even share of all, with one more to come, or than
/// this: who makes names of peers without end would leave nothing to the others.
const EVEN_SHARE_MIN: usize = 50;
/// So many halves that have gone before their time may stand in the queue of those that wait.
const GONE_MAX: usize = 32_768;
/// When all are there, those that nothing was added to for so long make room, so many at a time.
const IDLE_MS: i64 = 60_000;
const IDLE_ENDED_MAX: usize = 100;
/// Who asks from outside, where nothing says more.
const USER: &str = "user";

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Connection {
    Direct = 0,
    Messaging = 1,
    Database = 2,
    Virtual = 3,
}

impl Connection {
    fn label(self) -> &'static str {
        match self {
            Connection::Direct => "",
            Connection::Messaging => "messaging_system",
            Connection::Database => "database",
            Connection::Virtual => "virtual_node",
        }
    }
}

/// A span that is one side of a request.
pub(crate) struct Half {
    trace: TraceId,
    /// The client's span, which both sides know; `None` for a server that nobody's span asked.
    client_span: Option<SpanId>,
    is_client: bool,
    side: Side,
}

struct Side {
    service: Arc<str>,
    duration_ns: i64,
    end_ms: i64,
    failed: bool,
    weight: f64,
    connection: Connection,
    /// What the span says of the other end.
    peer: Option<Box<str>>,
}

impl Side {
    fn is_of_message(&self) -> bool {
        self.connection == Connection::Messaging
    }
}

/// What of a span says who is at the other end.
#[derive(Default)]
pub(crate) struct Peer<'a> {
    service: Option<&'a str>,
    server: Option<&'a str>,
    address: Option<&'a str>,
    port: Option<&'a str>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    system: Option<&'a str>,
    system_name: Option<&'a str>,
}

impl<'a> Peer<'a> {
    pub fn of(attributes: &'a Packed) -> Peer<'a> {
        let mut peer = Peer::default();
        // A name without a letter names nobody.
        for (name, _, text) in attributes.iter().filter(|(_, _, text)| !text.is_empty()) {
            if let Some(place) = peer.place(name) {
                place.get_or_insert(text);
            }
        }
        peer
    }

    fn place(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "peer.service" => &mut self.service,
            "server.address" => &mut self.server,
            "network.peer.address" => &mut self.address,
            "network.peer.port" => &mut self.port,
            "db.namespace" => &mut self.namespace,
            "db.name" => &mut self.name,
            "db.system" => &mut self.system,
            "db.system.name" => &mut self.system_name,
            _ => return None,
        })
    }

    /// Those of a resource's attributes that say anything of it.
    pub fn attributes(resource: &Attributes) -> Packed {
        let says = |(name, _): &&(String, Value)| Peer::default().place(name).is_some();
        resource.iter().filter(says).cloned().collect()
    }

    /// A node that sends no spans.
    fn node(&self) -> Option<Box<str>> {
        self.service.or(self.name).or(self.system).or(self.system_name).map(Box::from)
    }

    /// What the resource says goes before what the span says.
    fn with_resource(self, resource: &Peer<'a>) -> Peer<'a> {
        Peer {
            service: resource.service.or(self.service),
            server: resource.server.or(self.server),
            address: resource.address.or(self.address),
            port: resource.port.or(self.port),
            namespace: resource.namespace.or(self.namespace),
            name: resource.name.or(self.name),
            system: resource.system.or(self.system),
            system_name: resource.system_name.or(self.system_name),
        }
    }

    fn database(&self) -> Option<Box<str>> {
        let named = self.namespace.or(self.name).or(self.system).or(self.system_name)?;
        Some(match (self.service.or(self.server), self.address, self.port) {
            (Some(known), _, _) => known.into(),
            (None, Some(address), Some(port)) => format!("{address}:{port}").into(),
            (None, Some(address), None) => address.into(),
            (None, None, _) => named.into(),
        })
    }
}

/// Which shapes of a batch's attributes say anything of a peer, by where they lie.
#[derive(Default)]
pub(crate) struct Telling(HashMap<*const Shape, bool>);

impl Telling {
    fn is(&mut self, attributes: &Packed) -> bool {
        let Some(shape) = attributes.shape() else { return false };
        let says = || shape.entries().any(|(name, _)| Peer::default().place(name).is_some());
        *self.0.entry(Arc::as_ptr(shape)).or_insert_with(says)
    }
}

impl Half {
    /// `None` for a span that is neither side.
    pub fn of(
        service: &Arc<str>,
        resource: &Peer<'_>,
        span: &Span,
        weight: f64,
        telling: &mut Telling,
    ) -> Option<Half> {
        let (is_client, messaging) = match span.kind {
            SpanKind::Client => (true, false),
            SpanKind::Producer => (true, true),
            SpanKind::Server => (false, false),
            SpanKind::Consumer => (false, true),
            SpanKind::Internal | SpanKind::Unspecified => return None,
        };
        let peer = if telling.is(&span.attributes) { Peer::of(&span.attributes) } else { Peer::default() };
        let node = peer.node();
        let database = if is_client { peer.with_resource(resource).database() } else { None };
        let connection = match (&database, messaging) {
            (Some(_), _) => Connection::Database,
            (None, true) => Connection::Messaging,
            (None, false) => Connection::Direct,
        };
        Some(Half {
            trace: span.trace_id,
            client_span: if is_client { Some(span.span_id) } else { span.parent_span_id },
            is_client,
            side: Side {
                service: service.clone(),
                duration_ns: span.duration_ns,
                end_ms: span.start_ns.saturating_add(span.duration_ns).div_euclid(1_000_000),
                failed: span.status == StatusCode::Error,
                weight,
                connection,
                peer: database.or(node),
            },
        })
    }
}

type Key = (TraceId, SpanId);

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

struct Edge {
    client: Box<str>,
    server: Box<str>,
    connection: Connection,
    requests: f64,
    failed: f64,
    server_seconds: Latency,
    client_seconds: Latency,
    touched_ms: i64,
    told: bool,
}

/// How many edges each node has on one side.
#[derive(Default)]
struct Edges(HashMap<Box<str>, usize>);

impl Edges {
    fn added(&mut self, node: &str) {
        match self.0.get_mut(node) {
            Some(count) => *count += 1,
            None => _ = self.0.insert(node.into(), 1),
        }
    }

    fn ended(&mut self, node: &str) {
        if let Some(count) = self.0.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(node);
            }
        }
    }

    fn has_its_share(&self, node: &str) -> bool {
        let share = (EDGES_MAX / (self.0.len() + 1)).max(EVEN_SHARE_MIN);
        node != OVERFLOW && self.0.get(node).is_some_and(|count| *count >= share)
    }
}

/// Edges between two nodes by connection, plus one; 0 where there is none.
type ByConnection = [u32; 4];

#[derive(Default)]
pub(crate) struct Graph {
    clients: HashMap<Key, Client>,
    servers: HashMap<Key, Servers>,
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

/// What was counted between nodes.
#[derive(Default)]
struct Calls {
    places: HashMap<Box<str>, HashMap<Box<str>, ByConnection>>,
    edges: Slab<Edge>,
    of_clients: Edges,
    of_servers: Edges,
    overflowed: u64,
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
            None => _ = self.servers.insert(key, Servers { first: side, more: vec![] }),
        }
    }

    fn has_room(&mut self) -> bool {
        // A pair was found for most; a second one is rare, so these go first, many at a time.
        if self.waiting() >= HALVES_MAX && self.found > HALVES_MAX / 10 {
            self.clients.retain(|_, client| !client.found);
            self.gone += self.found;
            self.found = 0;
        }
        if self.gone > GONE_MAX {
            let (clients, servers) = (&self.clients, &self.servers);
            self.waiting.retain(|(_, is_client, key)| match is_client {
                true => clients.contains_key(key),
                false => servers.contains_key(key),
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
        for edge in self.calls.edges.iter_mut().filter(|edge| edge.requests > 0.0) {
            let told = std::mem::replace(&mut edge.told, true);
            out.born((!told).then_some(born_ms));
            let labels = labels(&edge.client, &edge.server, edge.connection);
            out.counter(REQUESTS, "", &labels, edge.requests);
            out.counter(FAILED, "", &labels, edge.failed);
            edge.server_seconds.export(SERVER, &labels, out);
            edge.client_seconds.export(CLIENT, &labels, out);
        }
        out.born(None);
    }

    /// Ends edges that nothing was added to since `before_ms`, and some of the others where there is no room.
    pub fn expire(&mut self, before_ms: i64, now_ms: i64, out: &mut Export<'_>) {
        let Calls { places, edges, of_clients, of_servers, .. } = &mut self.calls;
        let mut to_end = if edges.len() >= EDGES_MAX { IDLE_ENDED_MAX } else { 0 };
        let keep = |edge: &Edge| {
            let makes_room = to_end > 0 && edge.touched_ms < now_ms - IDLE_MS;
            to_end -= usize::from(makes_room);
            edge.touched_ms >= before_ms && !makes_room
        };
        edges.retain(keep, |edge| {
            if edge.told {
                let labels = labels(&edge.client, &edge.server, edge.connection);
                out.end(REQUESTS, "", &labels);
                out.end(FAILED, "", &labels);
                edge.server_seconds.end(SERVER, &labels, out);
                edge.client_seconds.end(CLIENT, &labels, out);
            }
            of_clients.ended(&edge.client);
            of_servers.ended(&edge.server);
            let Some(servers) = places.get_mut(&edge.client) else { return };
            if let Some(by) = servers.get_mut(&edge.server) {
                by[edge.connection as usize] = 0;
            }
            servers.retain(|_, by| *by != ByConnection::default());
            if servers.is_empty() {
                places.remove(&edge.client);
            }
        });
    }

    pub fn len(&self) -> usize {
        self.calls.edges.len()
    }

    /// Calls that were counted under [`OVERFLOW`].
    pub fn overflowed(&self) -> u64 {
        self.calls.overflowed
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len().saturating_sub(self.gone)
    }
}

impl Calls {
    fn pair(&mut self, client: &Side, server: &Side, trace: TraceId, now_ms: i64) {
        let connection = match client.connection {
            Connection::Direct => server.connection,
            known => known,
        };
        self.add((&client.service, &server.service), connection, (client, server), trace, now_ms);
    }

    /// One call between two nodes, as its two ends saw it.
    fn add(
        &mut self,
        (client, server): (&str, &str),
        connection: Connection,
        (of_client, of_server): (&Side, &Side),
        trace: TraceId,
        now_ms: i64,
    ) {
        let at = self.edge(client, server, connection);
        let Some(edge) = self.edges.get_mut(at) else { return };
        // Both were sampled with their trace; one may not say so.
        let weight = of_client.weight.max(of_server.weight);
        edge.touched_ms = now_ms;
        edge.requests += weight;
        if of_client.failed || of_server.failed {
            edge.failed += weight;
        }
        edge.server_seconds.observe(of_server.duration_ns, weight, trace, of_server.end_ms);
        edge.client_seconds.observe(of_client.duration_ns, weight, trace, of_client.end_ms);
    }

    fn edge(&mut self, client: &str, server: &str, connection: Connection) -> u32 {
        let known = self.places.get(client).and_then(|servers| servers.get(server));
        if let Some(at) = known.map(|by| by[connection as usize]).filter(|at| *at > 0) {
            return at - 1;
        }
        if let Some((client, server)) = self.instead_of(client, server) {
            self.overflowed += 1;
            return self.edge(client, server, connection);
        }
        let made = self.edges.insert(Edge {
            client: client.into(),
            server: server.into(),
            connection,
            requests: 0.0,
            failed: 0.0,
            server_seconds: Latency::new(&BOUNDS),
            client_seconds: Latency::new(&BOUNDS),
            touched_ms: 0,
            told: false,
        });
        let servers = self.places.entry(client.into()).or_default();
        servers.entry(server.into()).or_default()[connection as usize] = made + 1;
        self.of_clients.added(client);
        self.of_servers.added(server);
        made
    }

    /// Between which nodes a new edge is counted for which there is no room; `None` where there is.
    fn instead_of<'a>(&self, client: &'a str, server: &'a str) -> Option<(&'a str, &'a str)> {
        if (client, server) == (OVERFLOW, OVERFLOW) || self.edges.len() < EDGES_MAX / 2 {
            return None;
        }
        if self.edges.len() >= EDGES_MAX {
            return Some((OVERFLOW, OVERFLOW));
        }
        match (self.of_clients.has_its_share(client), self.of_servers.has_its_share(server)) {
            _ if client == OVERFLOW || server == OVERFLOW => None,
            (true, _) => Some((client, OVERFLOW)),
            (_, true) => Some((OVERFLOW, server)),
            _ => None,
        }
    }
}

fn labels<'a>(client: &'a str, server: &'a str, connection: Connection) -> [(&'static str, &'a str); 3] {
    [("client", client), ("server", server), ("connection_type", connection.label())]
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let at = graph.calls.edge("shop", "stock", Connection::Messaging);
        assert_eq!(graph.calls.edges.get_mut(at).unwrap().requests, calls as f64);
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
            let at = graph.calls.edge("shop", "stock", Connection::Direct);
            assert_eq!(graph.calls.edges.get_mut(at).unwrap().requests, calls as f64);
        }
    }

    /// One client whose peers have names without end leaves room for others, and is still told from them.
    #[test]
    fn nobody_takes_the_edges_of_all() {
        let mut graph = Graph::default();
        for number in 0..2 * EDGES_MAX {
            graph.calls.edge("crawler", &format!("host-{number}"), Connection::Virtual);
            graph.calls.edge(&format!("visitor-{number}"), "shop", Connection::Virtual);
        }
        let taken = graph.len();
        assert!(taken < EDGES_MAX, "{taken}");
        let overflowed = graph.calls.overflowed;
        graph.calls.edge("shop", "stock", Connection::Direct);
        assert_eq!((graph.len(), graph.calls.overflowed), (taken + 1, overflowed));
        let known = |client: &str, server: &str| {
            graph.calls.places.get(client).is_some_and(|s| s.contains_key(server))
        };
        assert!(known("crawler", OVERFLOW) && known(OVERFLOW, "shop") && known("shop", "stock"));
    }

    #[test]
    fn edges_without_requests_make_room_when_there_is_none() {
        let mut graph = Graph::default();
        for number in 0..EDGES_MAX {
            let at = graph.calls.edge(&format!("c{number}"), &format!("s{number}"), Connection::Direct);
            graph.calls.edges.get_mut(at).unwrap().touched_ms = number as i64;
        }
        assert_eq!(graph.len(), EDGES_MAX);
        let mut batches = vec![];
        graph.expire(0, IDLE_MS + 50, &mut Export::new(&mut batches, 0));
        assert_eq!(graph.len(), EDGES_MAX - 50);
        assert_eq!(
            (graph.calls.of_clients.0.len(), graph.calls.of_servers.0.len()),
            (EDGES_MAX - 50, EDGES_MAX - 50)
        );
    }

    #[test]
    fn a_resource_may_name_the_database() {
        let resource = vec![("server.address".to_owned(), Value::from("db.internal"))];
        let attributes = Packed::from(vec![("db.system".to_owned(), Value::from("postgresql"))]);
        let span = Span { kind: SpanKind::Client, attributes, ..Span::default() };
        let resource = Peer::attributes(&resource);
        let half =
            Half::of(&"shop".into(), &Peer::of(&resource), &span, 1.0, &mut Telling::default()).unwrap();
        assert_eq!(half.side.peer.as_deref(), Some("db.internal"));
        assert!(half.side.connection == Connection::Database);
    }
}
