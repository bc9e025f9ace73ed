//! One side of a request, as a span tells it, and whom it names at the other end.

use foldhash::HashMap;
use model::{Attributes, Packed, Shape, Span, SpanId, SpanKind, StatusCode, TraceId, Value};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Connection {
    Direct = 0,
    Messaging = 1,
    Database = 2,
    Virtual = 3,
}

impl Connection {
    pub fn label(self) -> &'static str {
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
    pub(super) trace: TraceId,
    /// The client's span, which both sides know; `None` for a server that nobody's span asked.
    pub(super) client_span: Option<SpanId>,
    pub(super) is_client: bool,
    pub(super) side: Side,
}

pub(super) struct Side {
    pub service: Arc<str>,
    pub duration_ns: i64,
    pub end_ms: i64,
    pub failed: bool,
    pub weight: f64,
    pub connection: Connection,
    /// What the span says of the other end.
    pub peer: Option<Box<str>>,
}

impl Side {
    pub fn is_of_message(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

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
