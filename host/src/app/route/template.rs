//! One route template: read once, matched against paths.

mod api_path;
mod overlap;

pub use api_path::{ApiParameter, ApiPath};

use super::constraint::Constraint;
pub(super) use overlap::Overlap;

/// A route template of ASP.NET Core, for example `products/{category:alpha}/{id:int?}`.
///
/// Literals compare without regard to case. Equality is that of the text, without regard to case and to slashes at
/// either end, as the original compares routes.
#[derive(Debug, Clone)]
pub struct RouteTemplate {
    text: String,
    segments: Vec<Segment>,
}

/// Why a route template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the route template '{template}' is invalid: {reason}")]
pub struct RouteTemplateError {
    /// The template.
    pub template: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What stands between two slashes.
#[derive(Debug, Clone)]
struct Segment {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Parameter(Parameter),
}

#[derive(Debug, Clone)]
struct Parameter {
    name: String,
    catch_all: bool,
    optional: bool,
    default: Option<String>,
    constraints: Vec<Constraint>,
}

/// Names and values of route parameters in the template's order.
pub(super) type Parameters = Vec<(String, String)>;

impl RouteTemplate {
    /// Reads a template. Slashes at either end mean nothing.
    ///
    /// # Errors
    /// [`RouteTemplateError`] names the template and what is wrong with it.
    pub fn parse(template: &str) -> Result<Self, RouteTemplateError> {
        let error = |reason: String| RouteTemplateError { template: template.to_owned(), reason };
        let text = template.strip_prefix("~/").unwrap_or(template).trim_matches('/').to_owned();
        let segments = Reader::new(&text).segments().map_err(error)?;
        check(&segments).map_err(error)?;
        Ok(RouteTemplate { text, segments })
    }

    /// The template without slashes at its ends.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The values that a path gives the parameters, without regard to a prefix: a path as it was received, its leading slash
    /// aside. None if it does not match.
    pub fn matches_path(&self, path: &str) -> Option<Vec<(String, String)>> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        self.matches(&segments)
    }

    /// The names of the parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|segment| &segment.parts).filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Parameter(parameter) => Some(parameter.name.as_str()),
        })
    }

    /// The first segment, in lower case, if it is a literal.
    pub fn first_literal(&self) -> Option<String> {
        match self.segments.first()?.parts.as_slice() {
            [Part::Literal(literal)] => Some(literal.to_lowercase()),
            _ => None,
        }
    }

    /// What decides between templates that match one path: the smaller one wins.
    pub(super) fn precedence(&self) -> Vec<u8> {
        self.segments.iter().map(Segment::precedence).collect()
    }

    /// Matches the segments of a path: still encoded as received, no empty one at the end. `None` if the path does not
    /// match or a value is not text.
    pub(super) fn matches(&self, path: &[&str]) -> Option<Parameters> {
        let mut parameters = Parameters::new();
        let mut rest = path;
        for segment in &self.segments {
            if let Some(parameter) = segment.catch_all() {
                let value = rest.iter().map(|part| decode(part)).collect::<Option<Vec<_>>>()?.join("/");
                return parameter.take(&value, &mut parameters).then_some(parameters);
            }
            match rest.split_first() {
                Some((encoded, others)) => {
                    let value = decode(encoded)?;
                    if value.is_empty() || !segment.matches(&value, &mut parameters) {
                        return None;
                    }
                    rest = others;
                }
                None => match segment.sole_parameter()? {
                    parameter if parameter.optional || parameter.default.is_some() => {
                        if !parameter.take("", &mut parameters) {
                            return None;
                        }
                    }
                    _ => return None,
                },
            }
        }
        rest.is_empty().then_some(parameters)
    }
}

impl PartialEq for RouteTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.text.to_lowercase() == other.text.to_lowercase()
    }
}

impl std::fmt::Display for RouteTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    fn sole_parameter(&self) -> Option<&Parameter> {
        match self.parts.as_slice() {
            [Part::Parameter(parameter)] => Some(parameter),
            _ => None,
        }
    }

    fn catch_all(&self) -> Option<&Parameter> {
        self.sole_parameter().filter(|parameter| parameter.catch_all)
    }

    /// 1 literal, 2 mixed or constrained, 3 parameter, 4 constrained catch-all, 5 catch-all.
    fn precedence(&self) -> u8 {
        match self.parts.as_slice() {
            [Part::Literal(_)] => 1,
            [Part::Parameter(parameter)] => match (parameter.catch_all, parameter.constraints.is_empty()) {
                (false, false) => 2,
                (false, true) => 3,
                (true, false) => 4,
                (true, true) => 5,
            },
            _ => 2,
        }
    }

    fn matches(&self, value: &str, parameters: &mut Parameters) -> bool {
        match self.parts.as_slice() {
            [Part::Literal(literal)] => equal_ignoring_case(literal, value),
            [Part::Parameter(parameter)] => parameter.take(value, parameters),
            parts => {
                // `{name}.{extension?}`: without the extension, the dot before it must be missing as well.
                let whole = mixed(parts, value);
                let short = match parts {
                    [first @ .., Part::Literal(dot), Part::Parameter(last)]
                        if last.optional && dot == "." && !value.ends_with('.') =>
                    {
                        mixed(first, value)
                    }
                    _ => None,
                };
                let Some(values) = whole.or(short) else {
                    return false;
                };
                values.into_iter().all(|(parameter, value)| parameter.take(value, parameters))
            }
        }
    }
}

/// Matches a mixed segment from its end, each literal at its last occurrence, as the original does: `{a}-{b}` takes
/// `x-y-z` apart into `x-y` and `z`. A parameter takes at least one character.
fn mixed<'t, 'v>(parts: &'t [Part], value: &'v str) -> Option<Vec<(&'t Parameter, &'v str)>> {
    let mut values = Vec::new();
    let mut rest = value;
    let mut waiting: Option<&Parameter> = None;
    for (index, part) in parts.iter().enumerate().rev() {
        match part {
            Part::Parameter(parameter) => waiting = Some(parameter),
            Part::Literal(literal) => {
                let (start, end) = match (waiting, index) {
                    (None, _) => (rest.len().checked_sub(literal.len())?, rest.len()),
                    (Some(_), 0) => (0, literal.len()),
                    (Some(_), _) => last_occurrence(rest, literal)?,
                };
                if !rest.get(start..end)?.eq_ignore_ascii_case(literal) || (index == 0 && start != 0) {
                    return None;
                }
                if let Some(parameter) = waiting.take() {
                    values.push((parameter, rest.get(end..).filter(|value| !value.is_empty())?));
                }
                rest = rest.get(..start)?;
            }
        }
    }
    match waiting {
        Some(parameter) => values.push((parameter, Some(rest).filter(|value| !value.is_empty())?)),
        None if rest.is_empty() => {}
        None => return None,
    }
    values.reverse();
    Some(values)
}

/// The last place of `literal` that leaves a value after it.
fn last_occurrence(text: &str, literal: &str) -> Option<(usize, usize)> {
    let last = text.len().checked_sub(literal.len() + 1)?;
    (0..=last)
        .rev()
        .find(|start| text.get(*start..start + literal.len()).is_some_and(|found| found.eq_ignore_ascii_case(literal)))
        .map(|start| (start, start + literal.len()))
}

impl Parameter {
    /// Takes a value, or the default for an empty one. An optional parameter without a value is left out. False if a
    /// constraint refuses the value.
    fn take(&self, value: &str, parameters: &mut Parameters) -> bool {
        let value = match (&self.default, value) {
            (Some(default), "") => default,
            (None, "") if self.optional => return true,
            (_, value) => value,
        };
        let accepted = self.constraints.iter().all(|constraint| constraint.accepts(value));
        if accepted {
            parameters.push((self.name.clone(), value.to_owned()));
        }
        accepted
    }
}

fn equal_ignoring_case(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!(a.is_ascii() && b.is_ascii()) && a.to_lowercase() == b.to_lowercase())
}

/// Whether a segment of a path, as it was received, is this literal.
pub(super) fn is_literal(encoded: &str, literal: &str) -> bool {
    encoded.eq_ignore_ascii_case(literal) || decode(encoded).is_some_and(|found| equal_ignoring_case(&found, literal))
}

/// Decodes one segment. `None` for what is not UTF-8.
fn decode(segment: &str) -> Option<std::borrow::Cow<'_, str>> {
    percent_encoding::percent_decode_str(segment).decode_utf8().ok()
}

/// Reads a template character by character: a slash inside a parameter's constraint does not end a segment.
struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Reader { rest: text.chars().peekable() }
    }

    fn segments(mut self) -> Result<Vec<Segment>, String> {
        if self.rest.peek().is_none() {
            return Ok(Vec::new());
        }
        let mut segments = Vec::new();
        let mut parts = Vec::new();
        let mut literal = String::new();
        loop {
            let next = self.rest.next();
            if matches!(next, None | Some('/')) {
                flush(&mut literal, &mut parts);
                if parts.is_empty() {
                    return Err("it has an empty segment: write one '/' between segments".to_owned());
                }
                segments.push(Segment { parts: std::mem::take(&mut parts) });
            }
            match next {
                None => return Ok(segments),
                Some('/') => {}
                Some('{') if self.rest.next_if_eq(&'{').is_some() => literal.push('{'),
                Some('{') => {
                    flush(&mut literal, &mut parts);
                    parts.push(Part::Parameter(parameter(&self.parameter_text()?)?));
                }
                Some('}') if self.rest.next_if_eq(&'}').is_some() => literal.push('}'),
                Some('}') => {
                    return Err("a '}' has no '{' before it: write '}}' for the character itself".to_owned());
                }
                Some('?') => return Err("a '?' stands outside of a parameter".to_owned()),
                Some(character) => literal.push(character),
            }
        }
    }

    /// What stands between the braces, `{{` and `}}` replaced by the characters that they stand for.
    fn parameter_text(&mut self) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                None => return Err(format!("'{{{text}' has no closing '}}'")),
                Some('}') if self.rest.next_if_eq(&'}').is_some() => text.push('}'),
                Some('}') => return Ok(text),
                Some('{') if self.rest.next_if_eq(&'{').is_some() => text.push('{'),
                Some('{') => {
                    return Err("a parameter stands inside a parameter: write '{{' for the character".to_owned());
                }
                Some(character) => text.push(character),
            }
        }
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal)));
    }
}

/// Reads `*name:constraint(arguments):constraint=default` or `name?`.
fn parameter(text: &str) -> Result<Parameter, String> {
    let stripped = text.trim_start_matches('*');
    let catch_all = stripped.len() < text.len();
    let (rest, optional) = match stripped.strip_suffix('?') {
        Some(rest) => (rest, true),
        None => (stripped, false),
    };
    let end = rest.find([':', '=']).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(end);
    if name.is_empty() || name.contains(['/', '{', '}', '*', '?']) {
        return Err(format!("'{{{text}}}' has no valid parameter name"));
    }
    let mut constraints = Vec::new();
    while let Some(constraint) = rest.strip_prefix(':') {
        let (constraint, others) = split_constraint(constraint)?;
        let (constraint_name, arguments) = match constraint.split_once('(') {
            Some((constraint_name, arguments)) => (constraint_name, arguments.strip_suffix(')')),
            None => (constraint, None),
        };
        constraints.push(Constraint::parse(constraint_name.trim(), arguments)?);
        rest = others;
    }
    let default = rest.strip_prefix('=').map(str::to_owned);
    if optional && default.is_some() {
        return Err(format!("the parameter '{name}' has both a default value and '?': leave one out"));
    }
    if optional && catch_all {
        return Err(format!(
            "the catch-all parameter '{name}' may not be optional: leave out '?', it may be empty anyway"
        ));
    }
    Ok(Parameter { name: name.to_owned(), catch_all, optional, default, constraints })
}

/// Splits after one constraint: at the ':' or '=' that follows it outside of its parentheses.
fn split_constraint(text: &str) -> Result<(&str, &str), String> {
    let end = match (text.find('('), text.find([':', '='])) {
        (Some(open), next) if next.is_none_or(|next| open < next) => {
            // An expression may hold parentheses of its own, so the constraint ends at a ')' that closes the segment
            // or stands before the next ':' or '='.
            let after_close = |at: &usize| {
                let after = &text[at + 1..];
                after.is_empty() || after.starts_with([':', '='])
            };
            let close = text[open..].match_indices(')').map(|(at, _)| open + at).find(after_close);
            close.ok_or_else(|| format!("the constraint '{text}' has no closing ')'"))? + 1
        }
        (_, next) => next.unwrap_or(text.len()),
    };
    Ok(text.split_at(end))
}

fn check(segments: &[Segment]) -> Result<(), String> {
    let mut names: Vec<&str> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        for (place, part) in segment.parts.iter().enumerate() {
            let Part::Parameter(parameter) = part else {
                continue;
            };
            let name = parameter.name.as_str();
            if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(format!("the parameter '{name}' appears more than once"));
            }
            names.push(name);
            let alone = segment.parts.len() == 1;
            if parameter.catch_all && !(alone && last) {
                return Err(format!("the catch-all parameter '{name}' must be the last segment and stand alone in it"));
            }
            let after_dot = place > 0 && matches!(&segment.parts[place - 1], Part::Literal(dot) if dot == ".");
            if parameter.optional && !(alone || (after_dot && place + 1 == segment.parts.len())) {
                return Err(format!(
                    "the optional parameter '{name}' must be a segment of its own, or follow a '.' at the end of one"
                ));
            }
            if place > 0 && matches!(segment.parts[place - 1], Part::Parameter(_)) {
                return Err(format!(
                    "a literal must stand before the parameter '{name}', after the parameter before it"
                ));
            }
        }
    }
    Ok(())
}
