//! Text that a stranger chose, made fit for a terminal: nothing of it moves the cursor, changes colours or runs backwards.

use std::fmt::Write as _;

/// The greatest number of columns that a payload takes on one line.
const SHORT: usize = 100;

/// Control characters, and those that hide, break or reorder what stands around them.
pub(in crate::cli) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text on one line, with what a terminal must not see as JSON's escapes.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            _ if is_unsafe(c) => escape(&mut clean, c),
            _ => clean.push(c),
        }
    }
    clean
}

/// As [`printable`], but its lines stay lines.
pub fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// JSON text, with what a terminal must not see escaped: the same value, for such characters stand in strings only.
/// White space between tokens stays, but for line ends, which become spaces.
pub(super) fn inert_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
            _ if is_unsafe(c) => escape(&mut clean, c),
            _ => clean.push(c),
        }
    }
    clean
}

fn escape(clean: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(clean, "\\u{unit:04x}");
    }
}

/// The text on one line of at most 100 columns; what is cut off is told.
pub(super) fn short(text: &str) -> String {
    let clean = printable(text.trim());
    if width(&clean) <= SHORT {
        return clean;
    }
    let mut shown = String::new();
    let mut columns = 0;
    for c in clean.chars() {
        columns += columns_of(c);
        if columns > SHORT - 16 {
            break;
        }
        shown.push(c);
    }
    format!("{shown}… ({} bytes)", text.len())
}

/// How many columns of a terminal a text takes: near enough for tables.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200d | 0xfe00..=0xfe0f | 0x1f3fb..=0x1f3ff => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x2_0000..=0x3_fffd => 2,
        _ => 1,
    }
}

/// Filled up with spaces to so many columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}31m\u{7f}\n\u{202e}b\u{200b}\u{e0041}🎉%2F";

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let clean = printable(HOSTILE);
        assert_eq!(clean, "a\\u001b[2J\\u009b31m\\u007f\\n\\u202eb\\u200b\\udb40\\udc41🎉%2F");
        assert!(!clean.chars().any(is_unsafe));
        assert_eq!(printable_lines("a\u{7}\nb"), "a\\u0007\nb");
    }

    #[test]
    fn json_stays_the_same_value() {
        let json = serde_json::json!({ "s": HOSTILE }).to_string();
        let raw = format!("{{\n\t\"s\": {}", &json[5..]);
        let inert = inert_json(&raw);
        assert!(!inert.chars().any(is_unsafe), "{inert}");
        let read: serde_json::Value = serde_json::from_str(&inert).unwrap();
        assert_eq!(read["s"], HOSTILE);
    }

    #[test]
    fn what_is_long_is_cut_by_columns_and_says_so() {
        assert_eq!(short(" [1] "), "[1]");
        let long = short(&"漢".repeat(200));
        assert!(long.ends_with("… (600 bytes)") && width(&long) <= SHORT, "{long}");
        assert_eq!(width("a漢🎉e\u{301}"), 6);
        assert_eq!(padded("漢", 4), "漢  ");
        assert_eq!(padded("long", 2), "long");
    }
}
