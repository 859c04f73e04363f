//! JSON with comments, read into a tree that remembers where each value stands.
//!
//! Comments, trailing commas and a byte order mark are accepted; anything else that JSON forbids is refused. Property
//! names compare without regard to case; of properties with one name, the last wins.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonc_parser::common::Ranged;
use jsonc_parser::{ParseOptions, ast, parse_to_ast};

use super::diagnostic::{Code, Problem, Report};
use super::error::{Origin, Position, Span};

/// What some editors begin a file with. It is no part of the text, and no column.
pub(super) const BOM: char = '\u{feff}';

/// A JSON file.
#[derive(Debug)]
pub(super) struct Document {
    root: Option<Node>,
}

/// One value and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    source: Source,
    value: Value,
}

/// A JSON value. Numbers keep their text.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Property>),
}

/// One property of an object.
#[derive(Debug, Clone)]
pub(super) struct Property {
    pub name: String,
    pub node: Node,
    /// Where the name stands.
    source: Source,
}

impl Property {
    /// Where the name stands.
    pub fn origin(&self) -> Origin {
        self.source.origin()
    }
}

#[derive(Debug, Clone)]
enum Source {
    File { file: Arc<PathBuf>, span: Span },
    Setting(String),
}

impl Source {
    fn origin(&self) -> Origin {
        match self {
            Source::File { file, span } => Origin::File { file: file.to_path_buf(), span: Some(*span) },
            Source::Setting(name) => Origin::Setting(name.clone()),
        }
    }
}

impl Document {
    /// Reads a file's bytes. A file without any value has no root. What is wrong is of the kind `syntax`.
    pub fn parse(file: &Path, bytes: Vec<u8>, syntax: Code) -> Result<Self, Problem> {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let origin = Lines::new(file, text.strip_prefix(BOM).unwrap_or(&text)).end();
                return Err(Problem::new(syntax, "the file is not UTF-8 text", origin).help("save it as UTF-8"));
            }
        };
        let text = text.strip_prefix(BOM).unwrap_or(&text);
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let lines = Lines::new(file, text);
        let parsed = parse_to_ast(text, &Default::default(), &options).map_err(|error| {
            let range = error.range();
            Problem::new(syntax, lower_first(&error.kind().to_string()), lines.origin(range.start, range.end))
        })?;
        Ok(Document { root: parsed.value.map(|value| lines.node(value)) })
    }

    /// The file's value, if it holds one.
    pub fn root(&self) -> Option<&Node> {
        self.root.as_ref()
    }

    /// The file's value, if it holds one.
    pub fn into_root(self) -> Option<Node> {
        self.root
    }
}

impl Node {
    /// An empty object that no file holds.
    pub fn empty_object(file: &Path) -> Self {
        let start = Position { line: 1, column: 1 };
        let source = Source::File { file: Arc::new(file.to_owned()), span: Span { start, end: start } };
        Node { source, value: Value::Object(Vec::new()) }
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where the value comes from.
    pub fn origin(&self) -> Origin {
        self.source.origin()
    }

    /// A setting that gave this value, or a value in it.
    pub fn setting_within(&self) -> Option<Origin> {
        if let Source::Setting(_) = self.source {
            return Some(self.origin());
        }
        match &self.value {
            Value::Array(elements) => elements.iter().find_map(Node::setting_within),
            Value::Object(properties) => properties.iter().find_map(|property| property.node.setting_within()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }

    /// The property of that name, if this is an object that has one.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.properties()
            .iter()
            .rev()
            .find(|property| property.name.eq_ignore_ascii_case(name))
            .map(|property| &property.node)
    }

    /// The properties, if this is an object; else none.
    pub fn properties(&self) -> &[Property] {
        match &self.value {
            Value::Object(properties) => properties,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => &[],
        }
    }

    /// The properties; a problem of the kind `code` that names `what` if this is not an object.
    pub fn expect_object(&self, what: &str, code: Code) -> Result<&[Property], Problem> {
        match &self.value {
            Value::Object(properties) => Ok(properties),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(Problem::new(code, format!("{what} must be a JSON object"), self.origin()))
            }
        }
    }

    /// The value as JSON without comments.
    pub fn to_json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(text) => text.clone(),
            Value::String(text) => quoted(text),
            Value::Array(nodes) => format!("[{}]", nodes.iter().map(Node::to_json).collect::<Vec<_>>().join(",")),
            Value::Object(properties) => {
                let member = |property: &Property| format!("{}:{}", quoted(&property.name), property.node.to_json());
                format!("{{{}}}", properties.iter().map(member).collect::<Vec<_>>().join(","))
            }
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A boolean, or the word for one in a string: that is how settings hold it.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(value) => Some(*value),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A whole number, or the text of one in a string.
    pub fn as_integer(&self) -> Option<i64> {
        match &self.value {
            Value::Number(text) | Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The text of a value that is neither object nor array; null is empty.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Null => Some(String::new()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::String(text) => Some(text.clone()),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Puts a setting's value at a path of property names. What stands in the way and is not an object is replaced. A
    /// path that ends with a number in an array replaces or appends that element.
    pub fn overlay(&mut self, setting: &str, path: &[&str], value: &str) {
        let source = Source::Setting(setting.to_owned());
        let Some((first, rest)) = path.split_first() else {
            *self = Node { source, value: Value::String(value.to_owned()) };
            return;
        };
        let fresh = Node { source: source.clone(), value: Value::Object(Vec::new()) };
        if let (Value::Array(elements), Ok(index)) = (&mut self.value, first.parse::<usize>()) {
            if index >= elements.len() {
                elements.push(fresh);
            }
            let place = index.min(elements.len() - 1);
            elements[place].overlay(setting, rest, value);
            return;
        }
        if !matches!(self.value, Value::Object(_)) {
            *self = fresh.clone();
        }
        let Value::Object(properties) = &mut self.value else {
            return;
        };
        let place = properties.iter().rposition(|property| property.name.eq_ignore_ascii_case(first));
        let place = place.unwrap_or_else(|| {
            properties.push(Property { name: (*first).to_owned(), node: fresh, source });
            properties.len() - 1
        });
        properties[place].node.overlay(setting, rest, value);
    }

    /// Rewrites every string in the tree. One for which there is a problem stays as it is.
    pub fn map_strings(&mut self, rewrite: &mut impl FnMut(&str, Origin) -> Option<String>) {
        let origin = self.origin();
        match &mut self.value {
            Value::String(text) => {
                if let Some(rewritten) = rewrite(text, origin) {
                    *text = rewritten;
                }
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| element.map_strings(rewrite)),
            Value::Object(properties) => {
                properties.iter_mut().for_each(|property| property.node.map_strings(rewrite));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Notes every property whose name its object has had already, in any case.
    pub fn note_duplicates(&self, report: &mut Report) {
        match &self.value {
            Value::Array(elements) => elements.iter().for_each(|element| element.note_duplicates(report)),
            Value::Object(properties) => {
                let mut names = BTreeSet::new();
                for property in properties {
                    if !names.insert(property.name.to_ascii_lowercase()) {
                        let message = format!("the key '{}' is given twice: the last one counts", property.name);
                        let problem = Problem::new(Code::DuplicateKey, message, property.origin());
                        report.note(problem.help("delete one of them"));
                    }
                    property.node.note_duplicates(report);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Turns byte offsets into lines and columns. The offsets of a walk through the text ascend, so each is counted from the one
/// before: from its line's start, a file of one long line would take time that grows with the square of its length.
struct Lines<'t> {
    file: Arc<PathBuf>,
    text: &'t str,
    /// The last offset asked for, and its position.
    last: Cell<(usize, Position)>,
}

impl<'t> Lines<'t> {
    fn new(file: &Path, text: &'t str) -> Self {
        Lines { file: Arc::new(file.to_owned()), text, last: Cell::new((0, Position { line: 1, column: 1 })) }
    }

    /// The position of an offset. One before the last one asked for is counted from the text's start.
    fn position(&self, offset: usize) -> Position {
        let start = (0, Position { line: 1, column: 1 });
        let offset = self.text.floor_char_boundary(offset);
        let (before, Position { mut line, mut column }) =
            Some(self.last.get()).filter(|last| last.0 <= offset).unwrap_or(start);
        for character in self.text[before..offset].chars() {
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        let position = Position { line, column };
        self.last.set((offset, position));
        position
    }

    fn source(&self, start: Position, end: usize) -> Source {
        Source::File { file: Arc::clone(&self.file), span: Span { start, end: self.position(end) } }
    }

    fn origin(&self, start: usize, end: usize) -> Origin {
        self.source(self.position(start), end).origin()
    }

    /// The end of the text.
    fn end(&self) -> Origin {
        self.origin(self.text.len(), self.text.len())
    }

    /// Asks for offsets in their order in the text.
    fn property(&self, property: ast::ObjectProp<'t>) -> Property {
        let range = property.name.range();
        let source = self.source(self.position(range.start), range.end);
        Property { name: property.name.into_string(), node: self.node(property.value), source }
    }

    /// Asks for offsets in their order in the text.
    fn node(&self, value: ast::Value<'t>) -> Node {
        let range = value.range();
        let start = self.position(range.start);
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
            ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
            ast::Value::StringLit(literal) => Value::String(literal.value.into_owned()),
            ast::Value::Array(array) => {
                Value::Array(array.elements.into_iter().map(|element| self.node(element)).collect())
            }
            ast::Value::Object(object) => {
                Value::Object(object.properties.into_iter().map(|property| self.property(property)).collect())
            }
        };
        Node { value, source: self.source(start, range.end) }
    }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, Problem> {
        Document::parse(Path::new("f.json"), text.as_bytes().to_vec(), Code::HostJsonSyntax)
    }

    #[test]
    fn comments_trailing_commas_and_a_byte_order_mark_are_accepted() {
        let document = parse("\u{feff}// first\n{ \"a\": [1, 2,], /* x */ \"B\": \"\\u00e9\", }").expect("valid");
        let root = document.root().expect("has a value");
        assert_eq!(root.get("b").and_then(Node::as_str), Some("é"));
        assert!(matches!(root.get("A").map(Node::value), Some(Value::Array(elements)) if elements.len() == 2));
    }

    #[test]
    fn of_two_properties_with_one_name_the_last_wins() {
        let document = parse(r#"{ "a": 1, "A": 2 }"#).expect("valid");
        assert_eq!(document.root().and_then(|root| root.get("a")).and_then(Node::as_integer), Some(2));
    }

    #[test]
    fn a_value_knows_its_line_and_column() {
        let document = parse("{\n  \"é\": 1, \"a\":\r\n true }").expect("valid");
        let origin = document.root().and_then(|root| root.get("a")).map(Node::origin).expect("has a");
        assert_eq!(origin.to_string(), "f.json:3:2");
    }

    #[test]
    fn every_value_of_one_long_line_knows_its_column() {
        let document = parse(&format!("[{}0]", "0,".repeat(200_000))).expect("valid");
        let Some(Value::Array(elements)) = document.root().map(Node::value) else { panic!("not an array") };
        for (index, element) in elements.iter().enumerate() {
            assert_eq!(element.origin().to_string(), format!("f.json:1:{}", 2 * index + 2));
        }
    }

    #[test]
    fn what_json_forbids_is_refused_with_its_place() {
        for (text, place) in [
            ("{ \"a\": 1 \"b\": 2 }", "f.json:1:"),
            ("{ a: 1 }", "f.json:1:3"),
            ("{ \"a\": 'x' }", "f.json:1:8"),
            ("{\n\"a\": 0x1 }", "f.json:2:"),
            ("{ \"a\": 1", "f.json:1:"),
            ("{} {}", "f.json:1:4"),
        ] {
            let problem = parse(text).expect_err(text);
            assert!(problem.origin.to_string().starts_with(place), "{text}: {} {}", problem.message, problem.origin);
        }
        let problem = Document::parse(Path::new("f.json"), b"{\n \xff\xfe".to_vec(), Code::HostJsonSyntax);
        let problem = problem.expect_err("not UTF-8");
        assert_eq!(problem.origin.to_string(), "f.json:2:2");
        assert_eq!(problem.message, "the file is not UTF-8 text");
    }

    #[test]
    fn a_setting_overrides_a_value_at_any_depth() {
        let mut root = parse(r#"{ "A": { "b": 1 }, "list": ["x"] }"#).expect("valid").into_root().expect("has a value");
        root.overlay("S1", &["a", "B"], "2");
        root.overlay("S2", &["c", "d"], "true");
        root.overlay("S3", &["list", "1"], "y");
        assert_eq!(root.get("a").and_then(|a| a.get("b")).and_then(Node::as_integer), Some(2));
        let d = root.get("c").and_then(|c| c.get("d")).expect("was added");
        assert_eq!((d.as_bool(), d.origin().to_string()), (Some(true), "setting S2".to_owned()));
        assert!(matches!(root.get("list").map(Node::value), Some(Value::Array(elements)) if elements.len() == 2));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:/*a\\\\u0 \nétrue1.e-]{0,24}") {
            if let Ok(document) = parse(&text) {
                let _ = document.root().map(Node::origin);
            }
        }
    }
}
