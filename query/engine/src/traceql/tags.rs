//! Which attributes and values spans have: what query builders complete from.

mod of_traces;

use super::alike::{Alike, Known, conditions};
use super::evaluate::{SpanAt, passes};
use super::passing::Passing;
use super::scan::SpanScan;
use super::shares::in_shares;
use super::sources::{columns_of, fields_or_columns_of};
use super::spans::Spans;
use super::value::{Val, elements};
use crate::logql::operator::Operator;
use crate::{Engine, QueryError};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use model::{SpanSelect, Tenant, TimeRange};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{Snapshot, SpanColumns, SpanNames};
use traceql::{Element, Field, FieldExpr, Intrinsic, ParseError, Root, Scope, SpansetExpr, Static};

/// Spans looked at for one list where each must be taken apart: completion needs the usual names, not the last rare one. They lie
/// by service, so that the first ones are of a few alone; what many have is known without them, and values that are words
/// are looked for in all.
const SPANS_MAX: usize = 500_000;

/// Names by scope (`resource`, `span`, `event`, `link`, `instrumentation`, `intrinsic`).
pub type TraceTags = BTreeMap<&'static str, Vec<String>>;

/// A value and its type: string, int, float, bool, duration or keyword.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagValue {
    pub kind: &'static str,
    pub value: String,
}

const SCOPES: [(&str, Scope, &[&str]); 5] = [
    ("resource", Scope::Resource, &["resource"]),
    ("span", Scope::Span, &["attributes"]),
    ("event", Scope::Event, &["events"]),
    ("link", Scope::Link, &["links"]),
    ("instrumentation", Scope::Instrumentation, &["scope_attributes"]),
];

impl Engine {
    /// Attribute names of spans in the range, sorted; of one scope only where it is given. A query narrows as in
    /// [`Engine::traceql_tag_values`].
    pub async fn traceql_tags(
        &self,
        tenant: &Tenant,
        scope: Option<&str>,
        query: Option<&str>,
        range: TimeRange,
        limit: usize,
    ) -> Result<TraceTags, QueryError> {
        const KNOWN: [&str; 7] =
            ["resource", "span", "event", "link", "instrumentation", "intrinsic", "trace"];
        let scope = scope.filter(|scope| !matches!(*scope, "" | "none"));
        if let Some(wrong) = scope.filter(|scope| !KNOWN.contains(scope)) {
            return Err(QueryError::Bad(format!(
                "invalid scope {wrong:?}; it can be one of {}",
                KNOWN.join(", ")
            )));
        }
        let wants = |name: &str| scope.is_none_or(|scope| scope == name);
        let columns: Vec<&str> = SCOPES
            .iter()
            .filter(|(name, _, _)| wants(name))
            .flat_map(|(_, _, columns)| columns.iter().copied())
            .collect();
        let mut tags = TraceTags::new();
        if !columns.is_empty() {
            let snapshot = self.source.snapshot(tenant).await?;
            let context = self.task_context();
            let filter = query.and_then(single_filter);
            // Who narrows what is asked for wants the names of those spans alone.
            let known = match &filter {
                None => snapshot.span_names(range).await?.unwrap_or_default(),
                Some(_) => SpanNames::default(),
            };
            let mut found = self.off_thread(names(snapshot, context, columns, filter, range)).await?;
            for (scope, known) in [("span", known.frequent), ("resource", known.of_resources)] {
                if let Some(names) = found.get_mut(scope) {
                    names.extend(known);
                }
            }
            for (scope, names) in found.into_iter().filter(|(_, names)| !names.is_empty()) {
                tags.insert(scope, names.into_iter().take(limit).collect());
            }
        }
        if wants("intrinsic") {
            tags.insert("intrinsic", intrinsic_words());
        }
        Ok(tags)
    }

    /// Values of a field among spans in the range, narrowed by a query where it is one span filter; another query
    /// narrows nothing, as what is being typed is often not whole.
    pub async fn traceql_tag_values(
        &self,
        tenant: &Tenant,
        tag: &str,
        query: Option<&str>,
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<TagValue>, QueryError> {
        let field = field_named(tag).map_err(|why| QueryError::Bad(why.to_string()))?;
        if let Some(words) = keywords(&field) {
            let word = |word: &&str| TagValue { kind: "keyword", value: (*word).to_owned() };
            return Ok(words.iter().map(word).collect());
        }
        if nobody_types(&field) {
            return Ok(vec![]);
        }
        let filter = query.and_then(single_filter).or_else(|| told_by_traces(&field));
        let snapshot = self.source.snapshot(tenant).await?;
        let context = self.task_context();
        self.off_thread(values(snapshot, context, field, filter, range, limit)).await
    }
}

/// Each with its scope and without. What tells where a span lies in its trace is nothing that is typed.
fn intrinsic_words() -> Vec<String> {
    use Intrinsic::{ChildCount, NestedSetLeft, NestedSetParent, NestedSetRight, Parent};
    let typed = Intrinsic::ALL.iter().filter(|(intrinsic, _, _)| {
        !matches!(intrinsic, ChildCount | NestedSetLeft | NestedSetParent | NestedSetRight | Parent)
    });
    let words: BTreeSet<&str> =
        typed.flat_map(|(_, plain, scoped)| [*plain, *scoped]).filter(|word| !word.is_empty()).collect();
    words.into_iter().map(str::to_owned).collect()
}

fn keywords(field: &Field) -> Option<&'static [&'static str]> {
    match field {
        Field::Intrinsic(Intrinsic::Status) => Some(&["error", "ok", "unset"]),
        Field::Intrinsic(Intrinsic::Kind) => {
            Some(&["client", "consumer", "internal", "producer", "server", "unspecified"])
        }
        _ => None,
    }
}

/// A name that is none of a field is an attribute's. What parents have, spans have.
fn field_named(tag: &str) -> Result<Field, ParseError> {
    let attribute = |_| traceql::parse_field(&format!(".{tag}"));
    // Not all that a name may be can be written without quotes.
    let quoted = |_| traceql::parse_field(&format!(".{tag:?}"));
    Ok(match traceql::parse_field(tag).or_else(attribute).or_else(quoted)? {
        Field::Attribute { scope, name } => {
            Field::Attribute { scope: scope.at_parent().unwrap_or(scope), name }
        }
        intrinsic => intrinsic,
    })
}

/// All spans, where no column has the field: a trace must be put together for it.
fn told_by_traces(field: &Field) -> Option<FieldExpr> {
    use Intrinsic::{ChildCount, NestedSetLeft, NestedSetParent, NestedSetRight};
    let Field::Intrinsic(ChildCount | NestedSetLeft | NestedSetParent | NestedSetRight) = field else {
        return None;
    };
    Some(FieldExpr::Static(Static::Bool(true)))
}

/// Ids and durations: each span has another, and none is the one that is looked for.
fn nobody_types(field: &Field) -> bool {
    use Intrinsic::{Duration, LinkSpanId, LinkTraceId, Parent, ParentId, SpanId, TraceDuration, TraceId};
    let Field::Intrinsic(intrinsic) = field else { return false };
    matches!(
        intrinsic,
        Duration | LinkSpanId | LinkTraceId | Parent | ParentId | SpanId | TraceDuration | TraceId
    )
}

/// The one filter of a query; of one that is being typed, what of it is whole.
fn single_filter(query: &str) -> Option<FieldExpr> {
    let Ok(parsed) = traceql::parse(query) else {
        let whole = conditions_so_far(query)?
            .into_iter()
            .filter(|one| !one.trim().is_empty())
            .filter_map(|one| parsed_filter(&format!("{{ {one} }}")));
        return whole.reduce(|left, right| FieldExpr::And(Box::new(left), Box::new(right)));
    };
    filter_of(parsed.root)
}

fn parsed_filter(query: &str) -> Option<FieldExpr> {
    filter_of(traceql::parse(query).ok()?.root)
}

/// The texts between `&&`; `None` where they are not all demanded.
fn conditions_so_far(query: &str) -> Option<Vec<&str>> {
    let inner = query.trim().strip_prefix('{')?;
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut conditions, mut from, mut depth, mut quote) = (vec![], 0, 0, None);
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"'), '\\') => _ = chars.next(),
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, '|') => return None,
            (None, '&') if depth == 0 && inner[at..].starts_with("&&") => {
                conditions.push(&inner[from..at]);
                from = at + 2;
            }
            _ => {}
        }
    }
    conditions.push(inner.get(from..)?);
    Some(conditions)
}

fn filter_of(root: Root) -> Option<FieldExpr> {
    let pipeline = match root {
        Root::Spansets(pipeline) => pipeline,
        Root::Metrics(metrics) => super::counted(metrics)?,
    };
    let mut elements = pipeline.elements.into_iter();
    let first = elements.next();
    let keeps_all =
        |element: Element| matches!(element, Element::Select(_) | Element::By(_) | Element::Coalesce);
    match first {
        Some(Element::Spansets(SpansetExpr::Filter(filter))) if elements.all(keeps_all) => Some(filter),
        _ => None,
    }
}

/// What a filter asks of the field's own values, of which a span may have several.
fn own_conditions<'a>(filter: &'a FieldExpr, field: &Field) -> Vec<&'a FieldExpr> {
    let of_one = |condition: &'a FieldExpr| match condition {
        FieldExpr::OfOne(conditions) => conditions.iter().collect(),
        other => vec![other],
    };
    let is_own = |condition: &&FieldExpr| match condition {
        FieldExpr::Compare(_, left, right) => match (left.as_ref(), right.as_ref()) {
            (FieldExpr::Field(own), FieldExpr::Static(value)) => own == field && *value != Static::Nil,
            _ => false,
        },
        FieldExpr::Regex { value, .. } => matches!(value.as_ref(), FieldExpr::Field(own) if own == field),
        _ => false,
    };
    conditions(filter).into_iter().flat_map(of_one).filter(is_own).collect()
}

async fn names(
    snapshot: Arc<dyn Snapshot>,
    context: Arc<TaskContext>,
    asked: Vec<&'static str>,
    filter: Option<FieldExpr>,
    range: TimeRange,
) -> Result<BTreeMap<&'static str, BTreeSet<String>>, QueryError> {
    let mut columns = asked.clone();
    columns.push("start_ts");
    let mut select = SpanSelect::all(range);
    if let Some(filter) = &filter {
        filter.fields(&mut |field| columns_of(field, &mut columns));
        super::scan::narrow(&mut select, filter);
    }
    let scan = SpanScan { snapshot, select, columns: SpanColumns::named(&columns) };
    let mut batches = execute_stream(Operator::plan(scan, vec![]), context).map_err(crate::logql::broken)?;
    let mut found: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    let mut seen = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(crate::logql::broken)?;
        let spans = Spans::of(&batch);
        let fits = |row: &usize| {
            let at = SpanAt { spans: &spans, row: *row, trace: None };
            range.contains(spans.start(*row))
                && filter.as_ref().is_none_or(|filter| at.holds(filter) != Some(false))
        };
        let rows: Option<Vec<usize>> = filter.is_some().then(|| (0..spans.len()).filter(fits).collect());
        for (name, scope, columns) in SCOPES {
            if !columns.iter().all(|column| asked.contains(column)) {
                continue;
            }
            let names = found.entry(name).or_default();
            spans.attribute_names(scope, rows.as_deref(), &mut |key| {
                if !names.contains(key) {
                    names.insert(key.to_owned());
                }
            });
        }
        seen += spans.len();
        if seen > SPANS_MAX {
            break;
        }
    }
    Ok(found)
}

async fn values(
    snapshot: Arc<dyn Snapshot>,
    context: Arc<TaskContext>,
    field: Field,
    filter: Option<FieldExpr>,
    range: TimeRange,
    limit: usize,
) -> Result<Vec<TagValue>, QueryError> {
    let asked = Arc::new(Asked { snapshot, context, field, filter, range, limit });
    if let Some(filter) = asked.filter.as_ref().filter(|filter| asked.hangs_on_traces(filter)) {
        return asked.of_traces(filter).await;
    }
    let shares = in_shares(|share| {
        let asked = asked.clone();
        async move { asked.share(share).await }
    })
    .await?;
    let mut found = BTreeSet::new();
    let mut reservations = vec![];
    for (values, reservation) in shares {
        found.extend(values);
        reservations.push(reservation);
    }
    Ok(found.into_iter().take(limit).collect())
}

/// Whose values are asked for.
struct Asked {
    snapshot: Arc<dyn Snapshot>,
    context: Arc<TaskContext>,
    field: Field,
    filter: Option<FieldExpr>,
    range: TimeRange,
    limit: usize,
}

impl Asked {
    async fn share(
        &self,
        share: (usize, usize),
    ) -> Result<(BTreeSet<TagValue>, MemoryReservation), QueryError> {
        let mut columns = vec!["start_ts"];
        let mut select = SpanSelect { share: Some(share), ..SpanSelect::all(self.range) };
        fields_or_columns_of(&self.field, &mut select.fields, &mut columns);
        if let Some(filter) = &self.filter {
            filter.fields(&mut |field| fields_or_columns_of(field, &mut select.fields, &mut columns));
            super::scan::narrow(&mut select, filter);
        }
        // Root names are those of spans without a parent.
        let root = match &self.field {
            Field::Intrinsic(Intrinsic::RootName) => Some(Intrinsic::Name),
            Field::Intrinsic(Intrinsic::RootService) => Some(Intrinsic::RootService),
            _ => None,
        };
        if root.is_some() {
            columns.extend(["name", "service", "parent_span_id"]);
        }
        let scan =
            SpanScan { snapshot: self.snapshot.clone(), select, columns: SpanColumns::named(&columns) };
        let mut batches = execute_stream(Operator::plan(scan, vec![]), self.context.clone())
            .map_err(crate::logql::broken)?;
        let reservation = MemoryConsumer::new("tag values").register(self.context.memory_pool());
        let mut values = Values { asked: self, root, found: BTreeSet::new(), bytes: 0 };
        let mut seen = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let spans = Spans::of(&batch);
            let by_words = values.add(&spans);
            reservation.try_resize(values.bytes).map_err(crate::logql::broken)?;
            seen += spans.len();
            if values.is_full() || !by_words && seen > SPANS_MAX {
                break;
            }
        }
        Ok((values.found, reservation))
    }
}

/// What was found so far.
struct Values<'a> {
    asked: &'a Asked,
    /// Instead of the field, of spans without a parent.
    root: Option<Intrinsic>,
    found: BTreeSet<TagValue>,
    bytes: usize,
}

impl Values<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.asked.limit
    }

    /// Looks through the rows of a batch, until there are enough. Says whether it looked once at rows with the same words, which have
    /// the same value.
    fn add(&mut self, spans: &Spans<'_>) -> bool {
        let asked = self.asked;
        let Asked { field, filter, range, .. } = asked;
        // Spans that lie beside those that are wanted come, too.
        let mut wanted: Vec<bool> = (0..spans.len()).map(|row| range.contains(spans.start(row))).collect();
        if let Some(filter) = filter {
            Passing::new(filter).judge(spans, &mut wanted);
        }
        if self.root.is_some() {
            wanted.iter_mut().enumerate().for_each(|(row, wanted)| *wanted &= spans.parent(row).is_none());
        }
        let own = filter.as_ref().map_or(vec![], |filter| own_conditions(filter, field));
        let mut alike = Alike::new(spans, &[field]);
        let (mut known, mut row) = (Known::default(), 0);
        while row < spans.len() && !self.is_full() {
            let (number, ends) = match &mut alike {
                Some(alike) => {
                    let (number, ends) = alike.run(row, spans.len());
                    (Some(number), ends)
                }
                None => (None, row + 1),
            };
            if let Some(at) = wanted[row..ends].iter().position(|wanted| *wanted) {
                let mut is_new = false;
                match number {
                    Some(number) => known.get(number, || is_new = true),
                    None => is_new = true,
                }
                if is_new {
                    self.add_of_row(spans, row + at, &own);
                }
            }
            row = ends;
        }
        alike.is_some()
    }

    fn add_of_row(&mut self, spans: &Spans<'_>, row: usize, own: &[&FieldExpr]) {
        let mut add = |value| self.bytes += note(&mut self.found, value);
        match self.root {
            Some(Intrinsic::Name) => add(Val::Text(spans.name(row).into())),
            Some(_) => add(Val::Text(spans.service(row).into())),
            None => spans.values(&self.asked.field, row, &mut |value| {
                if own.iter().all(|condition| passes(condition, &value)) {
                    add(value);
                }
                false
            }),
        }
    }
}

/// The bytes that it took.
fn note(found: &mut BTreeSet<TagValue>, value: Val<'_>) -> usize {
    let (kind, value) = match value {
        Val::Unknown | Val::Nil => return 0,
        Val::Int(number) => ("int", number.to_string()),
        // A whole one has its `.0`, as it is typed.
        Val::Float(number) => ("float", format!("{number:?}")),
        Val::Duration(ns) => ("duration", traceql::go_duration(ns)),
        Val::Bool(truth) => ("bool", truth.to_string()),
        Val::Status(status) => ("keyword", status.as_str().to_owned()),
        Val::Kind(kind) => ("keyword", kind.as_str().to_owned()),
        Val::Text(text) => ("string", text.into_owned()),
        Val::Array(text) => {
            let mut bytes = 0;
            elements(&text, &mut |element| {
                bytes += note(found, element);
                false
            });
            return bytes;
        }
    };
    let bytes = value.len() + 2 * size_of::<TagValue>();
    if found.insert(TagValue { kind, value }) { bytes } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{field_named, single_filter};
    use traceql::{Field, Scope};

    #[test]
    fn any_name_is_an_attributes() {
        for (tag, scope, name) in [
            ("user id", Scope::Any, "user id"),
            (r#"a "b""#, Scope::Any, r#"a "b""#),
            ("http.route", Scope::Any, "http.route"),
            ("parent.span.a", Scope::Span, "a"),
        ] {
            let expected = Field::Attribute { scope, name: name.to_owned() };
            assert_eq!(field_named(tag).unwrap(), expected, "{tag}");
        }
    }

    #[test]
    fn of_a_query_that_is_typed_what_is_whole_narrows() {
        let told = |query: &str| single_filter(query).map(|filter| filter.to_string());
        let whole = told(r#"{ span.a = "x" }"#);
        for typed in [
            r#"{ span.a = "x" && span.b = "#,
            r#"{ span.a = "x" && span.b = }"#,
            r#"{ span.b = && span.a = "x" "#,
            r#"{ span.a = "x" && "#,
        ] {
            assert_eq!(told(typed), whole, "{typed}");
        }
        assert_eq!(told(r#"{ span.a = "&& | \"" && .b = }"#), told(r#"{ span.a = "&& | \"" }"#));
        for nothing in
            [r#"{ span.a = "x" || span.b = "#, "{ span.a = ", "{", "", "span.a", r#"{ span.a = "x"#]
        {
            assert_eq!(told(nothing), None, "{nothing}");
        }
    }
}
