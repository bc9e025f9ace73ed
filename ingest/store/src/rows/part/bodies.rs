//! JSON bodies taken apart: in Parquet each frequent field of JSON lines is a column of its own, so that its values lie
//! side by side, and a query that asks for one field reads no other.
//!
//! A line's *shape* is its text with the values cut out: the pieces between them, and the path of each value. Shape and
//! values give the line back byte for byte. What is not an object in plain JSON, or has a path that has no column,
//! stays whole in the column `body`. A path is an RFC 6901 pointer without its first slash (`error/kind`).

use super::paths::Scan;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
    StringBuilder, UInt32Array, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Int32Type, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use model::json_text;
use std::borrow::Cow;
use std::sync::Arc;

pub const BODY: &str = "body";
pub const SHAPE: &str = "body_shape";
const PREFIX: &str = "json.";

/// Shapes of a part: lines of a further one stay whole.
const SHAPES_MAX: usize = 1_024;

pub fn is_column(field: &str) -> bool {
    field == SHAPE || field == BODY || field.starts_with(PREFIX)
}

/// Paths with a column among the fields of a file.
pub fn named<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    fields.filter_map(|field| field.strip_prefix(PREFIX)).collect()
}

/// The column of a path that has one.
pub fn column_of(path: &str) -> String {
    format!("{PREFIX}{path}")
}

/// The path whose column this is.
pub fn path_of(field: &str) -> Option<&str> {
    field.strip_prefix(PREFIX)
}

/// A line without its values: pieces of text, and between them the paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// One more than there are paths.
    pub pieces: Vec<String>,
    pub paths: Vec<String>,
}

impl Shape {
    /// As text: pieces and paths in turn.
    fn text(&self) -> String {
        let mut all: Vec<&str> = vec![];
        for (at, piece) in self.pieces.iter().enumerate() {
            all.push(piece);
            all.extend(self.paths.get(at).map(String::as_str));
        }
        serde_json::Value::from(all).to_string()
    }

    pub fn parse(text: &str) -> Option<Shape> {
        let all: Vec<String> = serde_json::from_str(text).ok()?;
        let (mut pieces, mut paths) = (vec![], vec![]);
        for (at, part) in all.into_iter().enumerate() {
            if at % 2 == 0 { pieces.push(part) } else { paths.push(part) }
        }
        (pieces.len() == paths.len() + 1).then_some(Shape { pieces, paths })
    }

    /// Such a line, its values empty, zero or an empty array.
    fn skeleton(&self) -> Option<serde_json::Value> {
        let mut line = String::new();
        for (at, piece) in self.pieces.iter().enumerate() {
            line.push_str(piece);
            if at < self.paths.len() && self.kind(at) == Kind::Scalar {
                line.push('0');
            }
        }
        serde_json::from_str(&line).ok()
    }

    pub fn kind(&self, value: usize) -> Kind {
        match self.pieces[value].as_bytes().last() {
            Some(b'"') => Kind::Text,
            Some(b'[') => Kind::Array,
            _ => Kind::Scalar,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Between quotes, escapes as they stand.
    Text,
    Array,
    /// A number, a truth or null.
    Scalar,
}

impl Kind {
    /// Whether the text of such a value can hold this.
    pub fn can_hold(self, text: &str) -> bool {
        let bytes = text.as_bytes();
        match self {
            Kind::Array => true,
            Kind::Scalar => bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)),
            // A quote in it has a backslash before it, which may stand before what is looked for.
            Kind::Text => bytes.windows(2).all(|pair| pair[1] != b'"' || pair[0] == b'\\'),
        }
    }
}

/// Takes bodies apart.
pub struct Shredder {
    paths: Vec<String>,
    shapes: HashMap<Vec<u8>, u32>,
    known: Vec<Shape>,
    scan: Scan,
    /// Columns of the values of the line at hand.
    columns_of: Vec<usize>,
    key: Vec<u8>,
}

impl Shredder {
    /// `paths` ascend.
    pub fn new(paths: Vec<String>) -> Shredder {
        Shredder {
            paths,
            shapes: HashMap::new(),
            known: vec![],
            scan: Scan::default(),
            columns_of: vec![],
            key: vec![],
        }
    }

    pub fn fields(&self) -> Vec<Field> {
        let mut fields =
            vec![Field::new(BODY, DataType::Utf8, true), Field::new(SHAPE, DataType::UInt32, true)];
        fields.extend(self.paths.iter().map(|path| Field::new(column_of(path), DataType::Utf8, true)));
        fields
    }

    /// The text columns among them: whole bodies, then the fields in the order of their numbers.
    pub fn texts(columns: &[ArrayRef]) -> Vec<&StringArray> {
        let [whole, _, fields @ ..] = columns else { return vec![] };
        std::iter::once(whole).chain(fields).filter_map(|column| column.as_string_opt()).collect()
    }

    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Shapes seen so far, by number, as the side index holds them.
    pub fn shapes(&self) -> Vec<String> {
        self.known.iter().map(Shape::text).collect()
    }

    /// The shape of the line that was just read, and the columns of its values.
    fn shape(&mut self, line: &str) -> Option<u32> {
        self.columns_of.clear();
        self.key.clear();
        let mut from = 0;
        for value in &self.scan.values {
            let path = self.scan.path(value);
            let column = self.paths.binary_search_by(|other| other.as_str().cmp(path)).ok()?;
            if self.columns_of.contains(&column) {
                return None;
            }
            self.columns_of.push(column);
            self.key.extend_from_slice(&line.as_bytes()[from..value.start]);
            self.key.push(0);
            from = value.end;
        }
        self.key.extend_from_slice(&line.as_bytes()[from..]);
        if let Some(shape) = self.shapes.get(&self.key) {
            return Some(*shape);
        }
        if self.known.len() >= SHAPES_MAX {
            return None;
        }
        let (mut pieces, mut from) = (vec![], 0);
        for value in &self.scan.values {
            pieces.push(line[from..value.start].to_owned());
            from = value.end;
        }
        pieces.push(line[from..].to_owned());
        let paths = self.scan.values.iter().map(|value| self.scan.path(value).to_owned()).collect();
        self.known.push(Shape { pieces, paths });
        let shape = (self.known.len() - 1) as u32;
        self.shapes.insert(self.key.clone(), shape);
        Some(shape)
    }

    /// The columns of [`fields`](Self::fields).
    pub fn shred(&mut self, bodies: &StringArray) -> Vec<ArrayRef> {
        if self.paths.is_empty() {
            return vec![Arc::new(bodies.clone()), Arc::new(UInt32Array::new_null(bodies.len()))];
        }
        let mut whole = StringBuilder::new();
        let mut shapes = UInt32Builder::with_capacity(bodies.len());
        let mut columns: Vec<StringBuilder> = self.paths.iter().map(|_| StringBuilder::new()).collect();
        for (row, line) in bodies.iter().enumerate() {
            let line = line.unwrap_or("");
            let shape = if self.scan.read(line) { self.shape(line) } else { None };
            shapes.append_option(shape);
            if shape.is_none() {
                whole.append_value(line);
                continue;
            }
            whole.append_null();
            for (value, column) in self.scan.values.iter().zip(&self.columns_of) {
                let column = &mut columns[*column];
                fill(column, row);
                column.append_value(&line[value.start..value.end]);
            }
        }
        let mut shredded: Vec<ArrayRef> = vec![Arc::new(whole.finish()), Arc::new(shapes.finish())];
        for mut column in columns {
            fill(&mut column, bodies.len());
            shredded.push(Arc::new(column.finish()));
        }
        shredded
    }
}

/// Nulls up to a row.
fn fill(column: &mut StringBuilder, row: usize) {
    let missing = row - arrow::array::ArrayBuilder::len(column);
    if missing > 0 {
        column.append_nulls(missing);
    }
}

/// The shapes of a file.
#[derive(Debug, Default)]
pub struct Shapes(pub Vec<Shape>);

impl Shapes {
    pub fn parse(texts: &[String]) -> Option<Shapes> {
        texts.iter().map(|text| Shape::parse(text)).collect::<Option<_>>().map(Shapes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By shape, whether it has this path.
    pub fn having(&self, path: &str) -> Vec<bool> {
        self.0.iter().map(|shape| shape.paths.iter().any(|other| other == path)).collect()
    }
}

/// The bodies of lines that stand whole, and whether a line was taken apart instead.
pub fn whole_or_known(batch: &RecordBatch) -> Result<(StringArray, BooleanArray), ArrowError> {
    let read = Read::of(batch)?;
    let whole = read.whole.ok_or_else(|| wrong("no whole bodies"))?;
    let known = arrow::compute::is_not_null(read.shapes)?;
    // What is null there has no bytes, so its text is empty.
    let (offsets, values, _) = whole.clone().into_parts();
    Ok((StringArray::try_new(offsets, values, None)?, known))
}

/// A path as the label that `| json` makes of it.
fn label_of(path: &str) -> String {
    let mut label = String::new();
    for key in path.split('/') {
        let key = key.replace("~1", "/").replace("~0", "~");
        if !label.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
            label.push('_');
        }
        label.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
    }
    label
}

/// What of a value is handed out.
type Told = fn(Kind, &str) -> Option<Cow<'_, str>>;

/// Labels or values that are asked for, and the path of each in one file.
#[derive(Debug)]
pub struct Labels {
    /// By the name of its column.
    all: Vec<(String, Option<String>)>,
    told: Told,
}

impl Labels {
    /// `None` where two paths make the same label: then which of them it is hangs on the line.
    pub fn new(wanted: &[String], paths: &[&str]) -> Option<Labels> {
        let mut labels: Vec<(String, Option<String>)> =
            wanted.iter().map(|label| (label.clone(), None)).collect();
        for path in paths {
            let label = label_of(path);
            if let Some((_, known)) = labels.iter_mut().find(|(wanted, _)| *wanted == label) {
                if known.is_some() {
                    return None;
                }
                *known = Some((*path).to_owned());
            }
        }
        let named = |(label, path): (String, _)| (format!("{}{label}", crate::schema::JSON_LABEL), path);
        Some(Labels { all: labels.into_iter().map(named).collect(), told: label_value })
    }

    /// The texts of values. `None` where a shape has something else than one value, or nothing, at one of the paths.
    pub fn of_values(wanted: &[Vec<String>], shapes: &Shapes) -> Option<Labels> {
        let skeletons: Vec<serde_json::Value> =
            shapes.0.iter().map(Shape::skeleton).collect::<Option<_>>()?;
        let mut all = vec![];
        for (at, keys) in wanted.iter().enumerate() {
            let escaped = keys.iter().map(|key| key.replace('~', "~0").replace('/', "~1"));
            let path = escaped.collect::<Vec<_>>().join("/");
            for (shape, skeleton) in shapes.0.iter().zip(&skeletons) {
                if shape.paths.contains(&path) != value_at(skeleton, keys)? {
                    return None;
                }
            }
            let has_it = shapes.0.iter().any(|shape| shape.paths.contains(&path));
            all.push((format!("{}{at}", crate::schema::JSON_VALUE), has_it.then_some(path)));
        }
        Some(Labels { all, told: json_value })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|(name, _)| name.as_str())
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter_map(|(_, path)| path.as_deref())
    }

    pub fn columns(&self) -> Vec<String> {
        let own = self.paths().map(column_of);
        own.chain([BODY.to_owned(), SHAPE.to_owned()]).collect()
    }

    /// The values of the labels, one column each; null where a line does not have it or stands whole in its body. Columns that
    /// were read coded stay so where all lines write the value alike.
    pub fn read(&self, batch: &RecordBatch, shapes: &Shapes) -> Result<Vec<ArrayRef>, ArrowError> {
        let read = Read::of(batch)?;
        let of_label = |path: Option<&str>| -> Result<ArrayRef, ArrowError> {
            let found = path.and_then(|path| Some((path, batch.column_by_name(&column_of(path))?)));
            let Some((path, column)) = found else {
                return Ok(Arc::new(StringArray::new_null(batch.num_rows())));
            };
            let kinds = Kinds::of(shapes, path);
            if let Some(coded) = column.as_dictionary_opt::<Int32Type>() {
                return match kinds.all {
                    Some(kind) => coded_values(coded, kind, self.told),
                    None => {
                        let plain = arrow::compute::cast(column, &DataType::Utf8)?;
                        Ok(Arc::new(values(&read, &kinds, plain.as_string(), self.told)?))
                    }
                };
            }
            let column = column.as_string_opt().ok_or_else(|| wrong("values are no text"))?;
            Ok(Arc::new(values(&read, &kinds, column, self.told)?))
        };
        self.all.iter().map(|(_, path)| of_label(path.as_deref())).collect()
    }
}

/// Whether an object of JSON has a value there, which is not an object itself. `None` where it is, or where keys may lead into an
/// array.
fn value_at(object: &serde_json::Value, keys: &[String]) -> Option<bool> {
    let mut at = object;
    for key in keys {
        at = match at {
            serde_json::Value::Object(object) => match object.get(key) {
                Some(value) => value,
                None => return Some(false),
            },
            serde_json::Value::Array(_) => return None,
            _ => return Some(false),
        };
    }
    (!at.is_object()).then_some(true)
}

/// How all lines write the value of a path, where they write it alike.
pub fn kind_of_all(shapes: &Shapes, path: &str) -> Option<Kind> {
    Kinds::of(shapes, path).all
}

/// How the shapes of a file write the value of one path.
struct Kinds {
    by_shape: Vec<Option<Kind>>,
    /// The one that all have.
    all: Option<Kind>,
}

impl Kinds {
    fn of(shapes: &Shapes, path: &str) -> Kinds {
        let kind =
            |shape: &Shape| shape.paths.iter().position(|known| known == path).map(|value| shape.kind(value));
        let by_shape: Vec<Option<Kind>> = shapes.0.iter().map(kind).collect();
        let first = by_shape.iter().flatten().next().copied();
        let all = first.filter(|first| by_shape.iter().flatten().all(|kind| kind == first));
        Kinds { by_shape, all }
    }
}

/// What a label is of a value that is written so: nothing of a text whose escapes are none, and a blank for what is no character,
/// as who reads the line has it.
pub fn label_value(kind: Kind, text: &str) -> Option<Cow<'_, str>> {
    match kind {
        Kind::Text if text.contains(['\\', char::REPLACEMENT_CHARACTER]) => {
            let said = json_text::unescaped(text).unwrap_or_default();
            Some(Cow::Owned(said.replace(char::REPLACEMENT_CHARACTER, " ")))
        }
        Kind::Text => Some(Cow::Borrowed(text)),
        Kind::Scalar => (text != "null").then_some(Cow::Borrowed(text)),
        Kind::Array => None,
    }
}

/// The value as JSON.
fn json_value(kind: Kind, text: &str) -> Option<Cow<'_, str>> {
    Some(match kind {
        Kind::Text => Cow::Owned(format!("\"{text}\"")),
        Kind::Array => Cow::Owned(format!("[{text}]")),
        Kind::Scalar => Cow::Borrowed(text),
    })
}

fn coded_values(coded: &DictionaryArray<Int32Type>, kind: Kind, told: Told) -> Result<ArrayRef, ArrowError> {
    let texts = coded.values().as_string_opt::<i32>().ok_or_else(|| wrong("values are no text"))?;
    let labels: StringArray = texts.iter().map(|text| text.and_then(|text| told(kind, text))).collect();
    let keys: Int32Array = match labels.null_count() {
        0 => coded.keys().clone(),
        _ => coded.keys().iter().map(|key| key.filter(|key| labels.is_valid(*key as usize))).collect(),
    };
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(labels))?))
}

fn values(
    read: &Read<'_>,
    kinds: &Kinds,
    column: &StringArray,
    told: Told,
) -> Result<StringArray, ArrowError> {
    let broken = "\u{fffd}".as_bytes();
    let plain = memchr::memchr(b'\\', column.value_data()).is_none()
        && memchr::memmem::find(column.value_data(), broken).is_none();
    let no_null = memchr::memmem::find(column.value_data(), b"null").is_none();
    let has_array = kinds.by_shape.contains(&Some(Kind::Array));
    let is_label = std::ptr::fn_addr_eq(told, label_value as Told);
    if is_label && plain && (kinds.all == Some(Kind::Text) || no_null && !has_array) {
        return Ok(column.clone());
    }
    let mut out = StringBuilder::with_capacity(column.len(), column.value_data().len());
    for row in 0..column.len() {
        let kind = match read.shapes.is_valid(row) && column.is_valid(row) {
            true => kinds.by_shape.get(read.shapes.value(row) as usize).copied().flatten(),
            false => None,
        };
        out.append_option(kind.and_then(|kind| told(kind, column.value(row))));
    }
    Ok(out.finish())
}

pub fn wrong(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("bodies: {what}"))
}

/// What was read of a file's bodies.
pub struct Read<'a> {
    pub whole: Option<&'a StringArray>,
    pub shapes: &'a UInt32Array,
    columns: HashMap<&'a str, &'a StringArray>,
}

impl<'a> Read<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Read<'a>, ArrowError> {
        let shapes = batch.column_by_name(SHAPE).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        let mut columns = HashMap::new();
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if let Some(column) = column.as_string_opt::<i32>().filter(|_| field.name().starts_with(PREFIX)) {
                // The schema lives as long as the batch.
                let _ = columns.insert(field.name().as_str(), column);
            }
        }
        Ok(Read {
            whole: batch.column_by_name(BODY).and_then(|column| column.as_string_opt::<i32>()),
            shapes: shapes.ok_or_else(|| wrong("no shapes"))?,
            columns,
        })
    }

    pub fn column(&self, path: &str) -> Option<&'a StringArray> {
        self.columns.get(column_of(path).as_str()).copied()
    }
}

/// The bodies again, from the columns of a file.
pub fn restore(batch: &RecordBatch, shapes: &Shapes) -> Result<StringArray, ArrowError> {
    let read = Read::of(batch)?;
    let whole = read.whole.ok_or_else(|| wrong("no whole bodies"))?;
    if read.shapes.null_count() == batch.num_rows() {
        return Ok(whole.clone());
    }
    let mut values: Vec<Option<Vec<&StringArray>>> = vec![None; shapes.0.len()];
    let mut out = StringBuilder::with_capacity(batch.num_rows(), batch.num_rows() * 128);
    let mut line = String::new();
    for row in 0..batch.num_rows() {
        if read.shapes.is_null(row) {
            out.append_value(if whole.is_null(row) { "" } else { whole.value(row) });
            continue;
        }
        let number = read.shapes.value(row) as usize;
        let shape = shapes.0.get(number).ok_or_else(|| wrong("a line is of no shape"))?;
        if values[number].is_none() {
            let columns = shape.paths.iter().map(|path| read.column(path)).collect::<Option<Vec<_>>>();
            values[number] = Some(columns.ok_or_else(|| wrong("a value has no column"))?);
        }
        line.clear();
        let columns = values[number].as_deref().unwrap_or(&[]);
        for (piece, column) in shape.pieces.iter().zip(columns) {
            line.push_str(piece);
            line.push_str(column.value(row));
        }
        line.push_str(shape.pieces.last().map_or("", String::as_str));
        out.append_value(&line);
    }
    Ok(out.finish())
}

#[cfg(test)]
pub mod tests {
    use super::super::paths::Paths;
    use super::*;
    use arrow::datatypes::Schema;

    pub const LINES: [&str; 16] = [
        r#"{"level":"info","msg":"order 17 placed","ms":12.5,"error":{"kind":"Timeout","retries":2}}"#,
        r#"{"level":"warn","msg":"order 18 placed","ms":7,"error":{"kind":"","retries":0}}"#,
        r#"{"level":"info","msg":"a \"quoted\" \u00e4 word\\","ms":-1e3,"error":{"kind":"x","retries":1}}"#,
        r#"{ "level" : "info", "tags": ["a", "b\"]"], "ok": true, "none": null }"#,
        r#"{"a/b~c":{"":"x"},"level":"debug"}"#,
        r#"{"level":"info","level":"twice"}"#,
        r#"{"level":"info"} trailing"#,
        r#"{"level":"info","#,
        r#"{"level":01x}"#,
        "{}",
        "[1,2]",
        "plain words",
        "",
        r#"{"level":"ünï","ms":[]}"#,
        "  {\"level\":\"info\"}  ",
        r#"{"rare":{"very":{"deep":1}}}"#,
    ];

    pub fn shredded(paths: Vec<String>) -> (RecordBatch, Shapes) {
        let mut shredder = Shredder::new(paths);
        let columns = shredder.shred(&StringArray::from(LINES.to_vec()));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(shredder.fields())), columns).unwrap();
        (batch, Shapes::parse(&shredder.shapes()).unwrap())
    }

    pub fn all_paths() -> Vec<String> {
        Paths::frequent(&[&StringArray::from(LINES.to_vec())]).all
    }

    #[test]
    fn a_label_is_of_a_column_what_it_is_of_a_line() {
        for (text, said) in [
            (r"\ud83d\uffff", "\u{217ff}"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d", ""),
            (r"\/\t", "/\t"),
            ("\u{fffd}", " "),
        ] {
            assert_eq!(label_value(Kind::Text, text).as_deref(), Some(said), "{text}");
        }
        assert_eq!(label_value(Kind::Scalar, "null"), None);
    }

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        let all = all_paths();
        assert!(all.contains(&"a~1b~0c/".to_owned()) && all.contains(&"error/kind".to_owned()), "{all:?}");
        for paths in [all.clone(), vec![], vec!["level".to_owned()], all[..all.len() / 2].to_vec()] {
            let (batch, shapes) = shredded(paths.clone());
            let again = restore(&batch, &shapes).unwrap();
            assert_eq!(again.iter().map(Option::unwrap).collect::<Vec<_>>(), LINES, "{paths:?}");
        }
        let (batch, _) = shredded(all);
        let taken_apart = batch.num_rows() - batch.column_by_name(SHAPE).unwrap().null_count();
        assert_eq!(taken_apart, 9);
    }

    #[test]
    fn values_are_told_where_they_are_no_objects() {
        let (batch, shapes) = shredded(all_paths());
        let path = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let wanted = [path(&["error", "kind"]), path(&["ms"]), path(&["a/b~c", ""]), path(&["absent", "x"])];
        let told = Labels::of_values(&wanted, &shapes).unwrap().read(&batch, &shapes).unwrap();
        let at = |value: usize, row: usize| {
            told[value].is_valid(row).then(|| told[value].as_string::<i32>().value(row))
        };
        assert_eq!((at(0, 0), at(0, 1), at(0, 3)), (Some("\"Timeout\""), Some("\"\""), None));
        assert_eq!(
            (at(1, 2), at(1, 13), at(2, 4), at(3, 0)),
            (Some("-1e3"), Some("[]"), Some("\"x\""), None)
        );
        // An object, and what may be in an array.
        for not_told in [path(&["error"]), path(&["tags", "0"])] {
            assert!(Labels::of_values(&[not_told], &shapes).is_none());
        }
    }

    #[test]
    fn a_text_is_read_as_the_json_stage_reads_it() {
        for (text, label) in
            [(r"a\/b", "a/b"), (r"\ud800", ""), (r"a\q", ""), (r"\ufffdx", " x"), ("\u{fffd}x", " x")]
        {
            assert_eq!(label_value(Kind::Text, text).as_deref(), Some(label), "{text}");
        }
    }

    #[test]
    fn labels_are_those_of_the_json_stage() {
        let (batch, shapes) = shredded(all_paths());
        let paths = all_paths();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let wanted = ["error_kind", "msg", "ms", "none", "tags", "absent", "a_b_c_"].map(str::to_owned);
        let labels = Labels::new(&wanted, &paths).unwrap();
        let columns = labels.read(&batch, &shapes).unwrap();
        let at = |label: usize, row: usize| {
            columns[label].is_valid(row).then(|| columns[label].as_string::<i32>().value(row))
        };
        assert_eq!((at(0, 0), at(0, 1), at(0, 3)), (Some("Timeout"), Some(""), None));
        assert_eq!(at(1, 2), Some("a \"quoted\" ä word\\"));
        assert_eq!((at(2, 0), at(2, 2), at(2, 13)), (Some("12.5"), Some("-1e3"), None));
        assert_eq!((at(3, 3), at(4, 3), at(5, 0), at(6, 4)), (None, None, None, Some("x")));
        assert!(Labels::new(&["a_b".to_owned()], &["a/b", "a_b"]).is_none());
        // The same of columns that were read coded.
        let coded = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let as_coded = |(field, column): (&Arc<Field>, &ArrayRef)| match field.name().strip_prefix(PREFIX) {
            Some(_) => (
                Arc::new(Field::new(field.name(), coded.clone(), true)),
                arrow::compute::cast(column, &coded).unwrap(),
            ),
            None => (field.clone(), column.clone()),
        };
        let of_coded = batch.schema_ref().fields().iter().zip(batch.columns()).map(as_coded);
        let (fields, arrays): (Vec<_>, Vec<_>) = of_coded.unzip();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        for (plain, coded) in columns.iter().zip(labels.read(&batch, &shapes).unwrap()) {
            assert_eq!(**plain, *arrow::compute::cast(&coded, &DataType::Utf8).unwrap());
        }
    }
}
