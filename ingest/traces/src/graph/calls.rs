//! What was counted between nodes: how many calls, how many of them failed, and how long they took. Edges are bounded, so that
//! nobody's names leave nothing to the others.

use super::half::{Connection, Side};
use crate::export::Export;
use crate::latency::Latency;
use crate::names::OVERFLOW;
use crate::slab::Slab;
use foldhash::HashMap;
use model::{MetricKind, TraceId};

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
/// Edges of one tenant, each about 30 series.
const EDGES_MAX: usize = 5_000;
/// Once half of them are there, no node has more on either side than an even share of all, with one more to come, or than
/// this: who makes names of peers without end would leave nothing to the others.
const EVEN_SHARE_MIN: usize = 50;
/// When all are there, those that nothing was added to for so long make room, so many at a time.
const IDLE_MS: i64 = 60_000;
const IDLE_ENDED_MAX: usize = 100;

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

/// What was counted between nodes.
#[derive(Default)]
pub(super) struct Calls {
    places: HashMap<Box<str>, HashMap<Box<str>, ByConnection>>,
    edges: Slab<Edge>,
    of_clients: Edges,
    of_servers: Edges,
    /// Those that were counted under [`OVERFLOW`].
    pub overflowed: u64,
}

impl Calls {
    pub fn pair(&mut self, client: &Side, server: &Side, trace: TraceId, now_ms: i64) {
        let connection = match client.connection {
            Connection::Direct => server.connection,
            known => known,
        };
        self.add((&client.service, &server.service), connection, (client, server), trace, now_ms);
    }

    /// One call between two nodes, as its two ends saw it.
    pub fn add(
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

    pub fn export(&mut self, out: &mut Export<'_>, born_ms: i64) {
        for edge in self.edges.iter_mut().filter(|edge| edge.requests > 0.0) {
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
        let Calls { places, edges, of_clients, of_servers, .. } = self;
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
        self.edges.len()
    }

    #[cfg(test)]
    pub fn requests(&mut self, client: &str, server: &str, connection: Connection) -> f64 {
        let at = self.edge(client, server, connection);
        self.edges.get_mut(at).map_or(0.0, |edge| edge.requests)
    }
}

fn labels<'a>(client: &'a str, server: &'a str, connection: Connection) -> [(&'static str, &'a str); 3] {
    [("client", client), ("server", server), ("connection_type", connection.label())]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One client whose peers have names without end leaves room for others, and is still told from them.
    #[test]
    fn nobody_takes_the_edges_of_all() {
        let mut calls = Calls::default();
        for number in 0..2 * EDGES_MAX {
            calls.edge("crawler", &format!("host-{number}"), Connection::Virtual);
            calls.edge(&format!("visitor-{number}"), "shop", Connection::Virtual);
        }
        let taken = calls.len();
        assert!(taken < EDGES_MAX, "{taken}");
        let overflowed = calls.overflowed;
        calls.edge("shop", "stock", Connection::Direct);
        assert_eq!((calls.len(), calls.overflowed), (taken + 1, overflowed));
        let known =
            |client: &str, server: &str| calls.places.get(client).is_some_and(|s| s.contains_key(server));
        assert!(known("crawler", OVERFLOW) && known(OVERFLOW, "shop") && known("shop", "stock"));
    }

    #[test]
    fn edges_without_requests_make_room_when_there_is_none() {
        let mut calls = Calls::default();
        for number in 0..EDGES_MAX {
            let at = calls.edge(&format!("c{number}"), &format!("s{number}"), Connection::Direct);
            calls.edges.get_mut(at).unwrap().touched_ms = number as i64;
        }
        assert_eq!(calls.len(), EDGES_MAX);
        let mut batches = vec![];
        calls.expire(0, IDLE_MS + 50, &mut Export::new(&mut batches, 0));
        assert_eq!(calls.len(), EDGES_MAX - 50);
        assert_eq!((calls.of_clients.0.len(), calls.of_servers.0.len()), (EDGES_MAX - 50, EDGES_MAX - 50));
    }
}
