//! Whether two templates match one path: found by example, so that nothing is reported that cannot happen.

use super::{Parameter, Part, RouteTemplate, Segment};

/// Values that constraints are tried with, beside texts and numbers of several lengths.
const SAMPLES: &[&str] = &[
    "x",
    "1",
    "abc",
    "true",
    "1.5",
    "2026-11-21",
    "01234567-89ab-cdef-0123-456789abcdef",
    "x-1",
    "x.y",
    "x_y",
    "0",
    "-1",
];

/// How two templates meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app::route) enum Overlap {
    /// The first one matches every path that the second one does.
    Covers,
    /// Both match this path, and each some others.
    Meets(String),
}

impl RouteTemplate {
    /// How this template, which is tried first, meets another one. None if they are not known to match one path.
    pub(in crate::app::route) fn overlap(&self, other: &Self) -> Option<Overlap> {
        if covers(&self.segments, &other.segments) {
            return Some(Overlap::Covers);
        }
        witness(&self.segments, &other.segments).map(Overlap::Meets)
    }
}

/// Whether `first` matches whatever `second` does. False where that is not clear.
fn covers(first: &[Segment], second: &[Segment]) -> bool {
    match (first.split_first(), second.split_first()) {
        (None, None) => true,
        (Some((segment, _)), _) if is_free(segment) && segment.catch_all().is_some() => true,
        (Some((segment, rest)), None) => may_be_absent(segment) && covers(rest, &[]),
        (None, Some(_)) => false,
        (Some((segment, rest)), Some((other, others))) => segment_covers(segment, other) && covers(rest, others),
    }
}

/// A parameter without constraints takes every text.
fn is_free(segment: &Segment) -> bool {
    segment.sole_parameter().is_some_and(|parameter| parameter.constraints.is_empty())
}

fn may_be_absent(segment: &Segment) -> bool {
    segment.sole_parameter().is_some_and(|one| one.catch_all || one.optional || one.default.is_some())
}

fn segment_covers(segment: &Segment, other: &Segment) -> bool {
    if other.catch_all().is_some() || may_be_absent(other) && !may_be_absent(segment) {
        return false;
    }
    if is_free(segment) {
        return true;
    }
    match (segment.parts.as_slice(), other.parts.as_slice()) {
        ([Part::Literal(own)], [Part::Literal(other)]) => super::equal_ignoring_case(own, other),
        (own, other) => own.len() == other.len() && own.iter().zip(other).all(|(own, other)| same(own, other)),
    }
}

/// Whether two parts match the same texts, but for the parameter's name.
fn same(part: &Part, other: &Part) -> bool {
    match (part, other) {
        (Part::Literal(own), Part::Literal(other)) => super::equal_ignoring_case(own, other),
        // `{name}.{extension}` needs its extension.
        (Part::Parameter(own), Part::Parameter(other)) if other.optional && !own.optional => false,
        (Part::Parameter(own), Part::Parameter(other)) => {
            own.constraints.iter().map(ToString::to_string).eq(other.constraints.iter().map(ToString::to_string))
        }
        (Part::Literal(_), Part::Parameter(_)) | (Part::Parameter(_), Part::Literal(_)) => false,
    }
}

/// A path that both match, without the prefix.
fn witness(first: &[Segment], second: &[Segment]) -> Option<String> {
    let mut path = Vec::new();
    let (mut first, mut second) = (first, second);
    loop {
        let catches_all = |segments: &[Segment]| segments.first().is_some_and(|one| one.catch_all().is_some());
        match (first.split_first(), second.split_first()) {
            (None, None) => break,
            (Some((segment, rest)), None) if may_be_absent(segment) => first = rest,
            (None, Some((segment, rest))) if may_be_absent(segment) => second = rest,
            (Some((own, rest)), Some((other, others))) => {
                path.push(text_for(own, other)?);
                // A catch-all takes the segments that follow, too.
                (first, second) = match (catches_all(first), catches_all(second)) {
                    (false, true) => (rest, second),
                    (true, false) => (first, others),
                    (true, true) | (false, false) => (rest, others),
                };
            }
            (Some(_), None) | (None, Some(_)) => return None,
        }
    }
    Some(path.join("/"))
}

/// A text that both segments match.
fn text_for(a: &Segment, b: &Segment) -> Option<String> {
    let matches = |segment: &Segment, text: &str| segment.matches(text, &mut Vec::new());
    // Where one is a literal there is nothing to try: of a thousand routes there are half a million pairs.
    match (a.parts.as_slice(), b.parts.as_slice()) {
        ([Part::Literal(text)], _) => return matches(b, text).then(|| text.clone()),
        (_, [Part::Literal(text)]) => return matches(a, text).then(|| text.clone()),
        _ => {}
    }
    let candidates = texts_of(a).chain(texts_of(b));
    let mut both = candidates.filter(|text| !text.is_empty() && matches(a, text) && matches(b, text));
    both.next()
}

/// Texts that a segment may match.
fn texts_of(segment: &Segment) -> impl Iterator<Item = String> {
    let fill = |value: String| {
        let parts = segment.parts.iter().map(|part| match part {
            Part::Literal(literal) => literal.as_str(),
            Part::Parameter(_) => value.as_str(),
        });
        parts.collect::<String>()
    };
    let lengths = (1..=40).flat_map(|length| ["x".repeat(length), "1".repeat(length)]);
    let bounds = segment.parts.iter().flat_map(|part| match part {
        Part::Literal(_) => Vec::new(),
        Part::Parameter(parameter) => numbers_in(parameter),
    });
    SAMPLES.iter().map(|sample| (*sample).to_owned()).chain(bounds).chain(lengths).map(fill)
}

/// The numbers that a parameter's constraints name: a range's bounds are in it.
fn numbers_in(parameter: &Parameter) -> Vec<String> {
    let texts = parameter.constraints.iter().map(ToString::to_string);
    let numbers = texts.flat_map(|text| {
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '-').map(str::to_owned);
        numbers.filter(|number| number.parse::<i64>().is_ok()).collect::<Vec<_>>()
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(first: &str, second: &str) -> Option<Overlap> {
        let parse = |text| RouteTemplate::parse(text).expect("is valid");
        parse(first).overlap(&parse(second))
    }

    #[test]
    fn a_template_covers_what_it_always_matches() {
        for (first, second) in [
            ("a/{id}", "A/{name}"),
            ("{a}/{b?}", "{a}/{b}"),
            ("{*rest}", "a/b"),
            ("a/{*rest}", "a"),
            ("{a:int}", "{b:INT}"),
            ("v{a}.{b}", "V{c}.{d}"),
            ("a/{b=1}", "a"),
            ("a/{b?}/{c?}", "a/{b}"),
            ("{a}.{b?}", "{c}.{d}"),
        ] {
            assert_eq!(overlap(first, second), Some(Overlap::Covers), "{first} {second}");
        }
    }

    #[test]
    fn templates_meet_where_an_example_shows_it() {
        for (first, second, path) in [
            ("{a}/{b}", "{a}/{b?}", Some("x/x")),
            ("{a:int}", "{b:length(3)}", Some("111")),
            ("{a:int}", "{b:min(5)}", Some("11")),
            ("{a:int}", "{b:alpha}", None),
            ("{a:length(3)}", "{b:length(4)}", None),
            ("{a:guid}", "{b:int}", None),
            ("a/{x}", "{y}/b", Some("a/b")),
            ("a/{x:int}", "{y}/b", None),
            ("a", "b", None),
            ("{a}.{b}", "{c}.{d?}", Some("x.x")),
            ("a/{b?}/c", "a", None),
            ("{a}.json", "{b}.xml", None),
            ("{a}-{b}", "{c}.{d}", Some("1.5-1.5")),
            ("a/{*r:alpha}", "{x}/{y}", Some("a/x")),
        ] {
            assert_eq!(overlap(first, second), path.map(|path| Overlap::Meets(path.to_owned())), "{first} {second}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_example_is_matched_by_both(a in "(a|b|\\{x\\}|v\\{x\\}|\\{x:int\\}|\\{x:alpha\\})(/(a|\\{y\\}|\\{y\\?\\}|\\{\\*y\\}))?",
                                         b in "(a|b|\\{x\\}|v\\{x\\}|\\{x:int\\}|\\{x:alpha\\})(/(a|\\{y\\}|\\{y\\?\\}|\\{\\*y\\}))?") {
            let (first, second) = (RouteTemplate::parse(&a).unwrap(), RouteTemplate::parse(&b).unwrap());
            if let Some(Overlap::Meets(path)) = first.overlap(&second) {
                let segments: Vec<&str> = path.split('/').collect();
                proptest::prop_assert!(first.matches(&segments).is_some() && second.matches(&segments).is_some());
            }
        }
    }
}
