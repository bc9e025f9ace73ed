//! A trace for whoever draws it by its spans' ids: a server's span that has its client's, as Zipkin's may, gets one of its
//! own, below the client's, and what was below both is below it. New ids are the least that no span has or names as its
//! parent. A span that names itself as its parent is a root.

use model::{Span, SpanBatch, SpanId, SpanKind};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The same batch where each span has an id of its own already.
pub(crate) fn told_apart(spans: &SpanBatch) -> Cow<'_, SpanBatch> {
    // Whether a client has the id.
    let mut of_clients: HashMap<SpanId, bool> = HashMap::new();
    for span in each(spans) {
        *of_clients.entry(span.span_id).or_default() |= span.kind == SpanKind::Client;
    }
    let shares = |span: &Span| span.kind == SpanKind::Server && of_clients.get(&span.span_id) == Some(&true);
    if !each(spans).any(|span| shares(span) || its_own_parent(span)) {
        return Cow::Borrowed(spans);
    }
    let mut told = spans.clone();
    let parents: HashSet<SpanId> = each(spans).filter_map(|span| span.parent_span_id).collect();
    let taken = |id: &SpanId| of_clients.contains_key(id) || parents.contains(id);
    let mut free = (1u64..).map(u64::to_be_bytes).filter(|id| !taken(id));
    let (mut servers, mut named) = (HashMap::<SpanId, SpanId>::new(), HashSet::<SpanId>::new());
    for span in each_mut(&mut told) {
        if shares(span)
            && let Some(id) = free.next()
        {
            let client = std::mem::replace(&mut span.span_id, id);
            span.parent_span_id = Some(client);
            servers.insert(client, id);
            named.insert(id);
        }
    }
    for span in each_mut(&mut told).filter(|span| !named.contains(&span.span_id)) {
        if let Some(server) = span.parent_span_id.and_then(|parent| servers.get(&parent)) {
            span.parent_span_id = Some(*server);
        } else if its_own_parent(span) {
            span.parent_span_id = None;
        }
    }
    Cow::Owned(told)
}

fn its_own_parent(span: &Span) -> bool {
    span.parent_span_id == Some(span.span_id)
}

fn each(spans: &SpanBatch) -> impl Iterator<Item = &Span> {
    spans.resources.iter().flat_map(|resource| &resource.spans)
}

fn each_mut(spans: &mut SpanBatch) -> impl Iterator<Item = &mut Span> {
    spans.resources.iter_mut().flat_map(|resource| &mut resource.spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ResourceSpans;

    fn span(id: u8, parent: u8, kind: SpanKind) -> Span {
        Span {
            span_id: [0, 0, 0, 0, 0, 0, 0, id],
            parent_span_id: (parent != 0).then_some([0, 0, 0, 0, 0, 0, 0, parent]),
            kind,
            ..Span::default()
        }
    }

    fn batch(spans: Vec<Span>) -> SpanBatch {
        SpanBatch { resources: vec![ResourceSpans { spans, ..ResourceSpans::default() }] }
    }

    fn ids(spans: &SpanBatch) -> Vec<(u8, u8)> {
        each(spans).map(|span| (span.span_id[7], span.parent_span_id.map_or(0, |parent| parent[7]))).collect()
    }

    #[test]
    fn a_server_with_its_clients_id_is_told_from_it() {
        let sent = batch(vec![
            span(1, 0, SpanKind::Server),
            span(7, 1, SpanKind::Client),
            span(7, 1, SpanKind::Server),
            span(9, 7, SpanKind::Internal),
        ]);
        assert_eq!(ids(&told_apart(&sent)), [(1, 0), (7, 1), (2, 7), (9, 2)]);
    }

    #[test]
    fn a_new_id_is_not_that_of_a_parent_that_is_not_there() {
        let lost = batch(vec![
            span(7, 0, SpanKind::Client),
            span(7, 7, SpanKind::Server),
            span(9, 1, SpanKind::Internal),
        ]);
        assert_eq!(ids(&told_apart(&lost)), [(7, 0), (2, 7), (9, 1)]);
    }

    #[test]
    fn each_of_two_servers_is_below_the_client() {
        let twice = batch(vec![
            span(7, 0, SpanKind::Client),
            span(7, 7, SpanKind::Server),
            span(7, 7, SpanKind::Server),
        ]);
        assert_eq!(ids(&told_apart(&twice)), [(7, 0), (1, 7), (2, 7)]);
    }

    #[test]
    fn a_server_whose_client_is_not_there_is_a_root() {
        let alone = batch(vec![span(7, 7, SpanKind::Server), span(8, 7, SpanKind::Client)]);
        assert_eq!(ids(&told_apart(&alone)), [(7, 0), (8, 7)]);
    }

    #[test]
    fn nothing_is_copied_where_ids_differ() {
        let plain = batch(vec![span(1, 0, SpanKind::Server), span(2, 1, SpanKind::Client)]);
        assert!(matches!(told_apart(&plain), Cow::Borrowed(_)));
    }
}
