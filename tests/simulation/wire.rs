//! The part of PostgreSQL's messages that the simulated server understands: statements by their text,
//! parameters by their types.
//! <https://www.postgresql.org/docs/17/protocol-message-formats.html>

use std::fmt::Debug;

/// A message from the client: its tag and body.
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

/// Removes the first complete message from `received`.
pub(crate) fn take_message(received: &mut Vec<u8>) -> Option<Message> {
    let len = received.get(1..5)?;
    let len = usize::try_from(u32::from_be_bytes(len.try_into().ok()?)).ok()?;
    received.get(len)?;
    let whole: Vec<u8> = received.drain(..=len).collect();
    Some(Message {
        tag: whole[0],
        body: whole[5..].to_vec(),
    })
}

/// Appends a message from the server.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
}

pub(crate) fn put_error(out: &mut Vec<u8>, tag: u8, state: &str, text: &str) {
    let body = format!("SERROR\0VERROR\0C{state}\0M{text}\0\0");
    put(out, tag, body.as_bytes());
}

pub(crate) fn put_row(out: &mut Vec<u8>, columns: &[Vec<u8>]) {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for column in columns {
        body.extend(u32::try_from(column.len()).unwrap().to_be_bytes());
        body.extend(column);
    }
    put(out, b'D', &body);
}

/// A parameter, as its type reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Number(i64),
    Text(String),
    /// bytea and uuid.
    Bytes(Vec<u8>),
    Array(Vec<Value>),
}

impl Value {
    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?} is not a number"),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => panic!("{other:?} is not text"),
        }
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        match self {
            Self::Bytes(bytes) => bytes[..]
                .try_into()
                .expect("as many bytes as its column has"),
            other => panic!("{other:?} is not bytea"),
        }
    }
}

/// A parsed statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) kind: Kind,
    types: Vec<u32>,
    /// The columns of its result.
    pub(crate) returning: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The columns, and the source of each one's value.
    Insert(Vec<(String, Source)>),
    Lookup,
    Validation,
}

/// The source of an insert's column: a parameter's number, from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// The same value in each row.
    Scalar(usize),
    /// One element for each row.
    Array(usize),
}

/// A statement with its parameters.
pub(crate) struct Portal {
    pub(crate) statement: Statement,
    pub(crate) values: Vec<Value>,
}

impl Portal {
    /// The rows of an insert, each column by its name.
    pub(crate) fn rows(&self) -> Vec<Vec<(&str, &Value)>> {
        let Kind::Insert(columns) = &self.statement.kind else {
            return Vec::new();
        };
        let lengths = columns.iter().filter_map(|(_, source)| match source {
            Source::Array(index) => Some(self.elements(*index).len()),
            Source::Scalar(_) => None,
        });
        let lengths: Vec<usize> = lengths.collect();
        assert!(
            lengths.windows(2).all(|pair| pair[0] == pair[1]),
            "arrays have the same length"
        );
        let count = lengths.first().copied().unwrap_or(1);
        let value = |source: Source, row: usize| match source {
            Source::Scalar(index) => &self.values[index],
            Source::Array(index) => &self.elements(index)[row],
        };
        let row = |number| {
            let columns = columns.iter();
            columns
                .map(|(name, source)| (name.as_str(), value(*source, number)))
                .collect()
        };
        (0..count).map(row).collect()
    }

    fn elements(&self, index: usize) -> &[Value] {
        match &self.values[index] {
            Value::Array(elements) => elements,
            other => panic!("{other:?} is not an array"),
        }
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap();
        let text = String::from_utf8(self.take(end).to_vec()).unwrap();
        self.take(1);
        text
    }

    /// A length and as many bytes; -1 is NULL.
    fn field(&mut self) -> Option<&'b [u8]> {
        let len = usize::try_from(self.i32()).ok()?;
        Some(self.take(len))
    }
}

/// Reads a Parse: the statement's name and the statement.
pub(crate) fn parse(body: &[u8]) -> (String, Statement) {
    let mut reader = Reader(body);
    let name = reader.text();
    let sql = reader.text();
    let types = (0..reader.u16())
        .map(|_| reader.i32().cast_unsigned())
        .collect();
    (name, Statement::read(&sql, types))
}

/// Reads a Bind: the statement's name, and its parameters' formats and bytes.
pub(crate) fn bind(body: &[u8], statement: impl Fn(&str) -> Statement) -> Portal {
    let mut reader = Reader(body);
    assert_eq!(reader.text(), "", "only the unnamed portal is in use");
    let statement = statement(&reader.text());
    let formats: Vec<u16> = (0..reader.u16()).map(|_| reader.u16()).collect();
    let count = usize::from(reader.u16());
    assert_eq!(
        count,
        statement.types.len(),
        "as many parameters as in the statement"
    );
    let values = (0..count).map(|index| {
        let is_binary = match formats[..] {
            [] => false,
            [all] => all == 1,
            _ => formats[index] == 1,
        };
        read_value(statement.types[index], is_binary, reader.field())
    });
    let values = values.collect();
    let formats: Vec<u16> = (0..reader.u16()).map(|_| reader.u16()).collect();
    assert_eq!(formats, [1], "results are asked for in binary");
    Portal { statement, values }
}

// Types by pg_type.dat: the element's, then its array's.
const TYPES: [(u32, u32); 6] = [
    (17, 1001),   // bytea
    (20, 1016),   // int8
    (21, 1005),   // int2
    (23, 1007),   // int4
    (25, 1009),   // text
    (2950, 2951), // uuid
];

fn read_value(oid: u32, is_binary: bool, field: Option<&[u8]>) -> Value {
    let Some(field) = field else {
        return Value::Null;
    };
    if TYPES.iter().any(|(_, array)| *array == oid) {
        assert!(is_binary, "arrays are sent in binary");
        return read_array(oid, field);
    }
    match (oid, is_binary) {
        (20 | 21 | 23, true) => {
            // Sign extension, whatever the width.
            let negative = field.first().is_some_and(|byte| *byte >= 0x80);
            let wide = field.iter().fold(-i64::from(negative), |sum, byte| {
                (sum << 8) | i64::from(*byte)
            });
            Value::Number(wide)
        }
        (20 | 21 | 23, false) => Value::Number(String::from_utf8_lossy(field).parse().unwrap()),
        (25, _) => Value::Text(String::from_utf8(field.to_vec()).unwrap()),
        (17 | 2950, true) => Value::Bytes(field.to_vec()),
        other => panic!("a parameter of type {other:?}"),
    }
}

/// <https://www.postgresql.org/docs/17/arrays.html>; the layout is array_recv's in arrayfuncs.c.
fn read_array(oid: u32, field: &[u8]) -> Value {
    let mut reader = Reader(field);
    let dimensions = reader.i32();
    let _has_nulls = reader.i32();
    let element = reader.i32().cast_unsigned();
    assert!(
        TYPES.contains(&(element, oid)),
        "an array of {element} is sent as type {oid}"
    );
    if dimensions == 0 {
        return Value::Array(Vec::new());
    }
    assert_eq!(dimensions, 1);
    let count = reader.i32();
    let _lower_bound = reader.i32();
    let elements = (0..count).map(|_| read_value(element, true, reader.field()));
    let elements = elements.collect();
    assert!(reader.0.is_empty(), "nothing after the last element");
    Value::Array(elements)
}

impl Statement {
    /// Understands the statements of the service. Anything else is a finding, too.
    fn read(sql: &str, types: Vec<u32>) -> Self {
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(rest) = sql.strip_prefix("INSERT INTO payments (") {
            return Self::read_insert(rest, types);
        }
        if sql.starts_with("SELECT current_setting('synchronous_commit')") {
            return Self {
                kind: Kind::Validation,
                types,
                returning: Vec::new(),
            };
        }
        let (columns, rest) = between(&sql, "SELECT ", " FROM payments ");
        assert_eq!(
            rest,
            "WHERE (transaction_id = $1 OR idempotency_key = $2) \
             AND pg_logical_emit_message(true, 'payment', '') IS NOT NULL \
             ORDER BY transaction_id = $1 DESC LIMIT 1",
        );
        Self {
            kind: Kind::Lookup,
            types,
            returning: list(columns),
        }
    }

    fn read_insert(rest: &str, types: Vec<u32>) -> Self {
        let (columns, rest) = rest.split_once(") ").expect("a list of columns");
        let (values, returning) = rest
            .split_once(" ON CONFLICT DO NOTHING RETURNING ")
            .expect("an insert that can be repeated");
        let sources: Vec<Source> = match values.strip_prefix("VALUES (") {
            Some(values) => {
                let values = values.strip_suffix(')').expect("one row");
                list(values)
                    .iter()
                    .map(|value| Source::Scalar(parameter(value)))
                    .collect()
            }
            None => read_unnest(values),
        };
        let columns = list(columns);
        assert_eq!(columns.len(), sources.len(), "a value for each column");
        Self {
            kind: Kind::Insert(columns.into_iter().zip(sources).collect()),
            types,
            returning: list(returning),
        }
    }
}

/// `SELECT a, $2, b FROM unnest($1::uuid[], $3::text[]) AS t (a, b)`
fn read_unnest(sql: &str) -> Vec<Source> {
    let (selected, rest) = between(sql, "SELECT ", " FROM unnest(");
    let (arrays, alias) = rest.split_once(") ").expect("the end of the arrays");
    let (_, names) = alias.split_once('(').expect("names for the arrays");
    let names = list(names.split(')').next().unwrap());
    let arrays: Vec<usize> = list(arrays).iter().map(|array| parameter(array)).collect();
    let all: Vec<Source> = arrays.iter().copied().map(Source::Array).collect();
    if selected == "*" {
        return all;
    }
    let source = |item: &String| match item.strip_prefix('$') {
        Some(_) => Source::Scalar(parameter(item)),
        None => {
            let name = item.rsplit('.').next().unwrap();
            Source::Array(arrays[names.iter().position(|known| known == name).unwrap()])
        }
    };
    list(selected).iter().map(source).collect()
}

/// The number, from 0, of `$1` or `$1::type`.
fn parameter(text: &str) -> usize {
    let number = text.strip_prefix('$').expect("a parameter");
    let number = number.split("::").next().unwrap();
    number.parse::<usize>().expect("a parameter's number") - 1
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> (&'a str, &'a str) {
    let inner = text.strip_prefix(start);
    inner
        .and_then(|inner| inner.split_once(end))
        .unwrap_or_else(|| panic!("a statement that the server does not know: {text}"))
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}
