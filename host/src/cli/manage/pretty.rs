//! JSON text on several lines, token by token: numbers and strings stay as they were written.

/// Lays out JSON text with two spaces per level. The text must be JSON.
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.trim();
    while let Some(c) = rest.chars().next() {
        let token = if c == '"' { string(rest) } else { &rest[..c.len_utf8()] };
        let after = rest[token.len()..].trim_start();
        match c {
            '{' | '[' if after.starts_with(['}', ']']) => {
                out.push(c);
                out.push_str(&after[..1]);
                rest = after[1..].trim_start();
                continue;
            }
            '{' | '[' => {
                depth += 1;
                out.push(c);
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push_str(token),
        }
        rest = after;
    }
    out
}

/// The string at the beginning of a text, quotes included.
fn string(text: &str) -> &str {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return &text[..=at],
            _ => {}
        }
    }
    text
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_as_they_were_written() {
        let json = r#" {"a":[1.0,12345678901234567890,{}],"b" : "x,\"{[ y","c":[ ],"d":null} "#;
        let wanted = r#"{
  "a": [
    1.0,
    12345678901234567890,
    {}
  ],
  "b": "x,\"{[ y",
  "c": [],
  "d": null
}"#;
        assert_eq!(pretty(json), wanted);
        assert_eq!(pretty("\"only\""), "\"only\"");
    }
}
