//! Payloads on the command line: JSON text, `@file`, or `-` for standard input.

use std::{fs, io::Read as _};

use super::failure::Failure;
use crate::durable::Json;

/// Reads a payload and checks that it is JSON.
///
/// # Errors
/// A usage failure that names the place and the remedy.
pub(super) fn json(flag: &str, argument: &str) -> Result<String, Failure> {
    let (origin, text) = read(flag, argument)?;
    match Json::parse(text.as_str()) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format!("{origin} is not JSON: {error}{}", hint(&text)))),
    }
}

/// Reads a payload as Azure's Core Tools do: `@file` holds JSON, any other text is a JSON string.
///
/// # Errors
/// As [`json`].
pub(super) fn core_tools(flag: &str, argument: &str) -> Result<String, Failure> {
    if argument.starts_with('@') {
        return json(flag, argument);
    }
    Ok(Json::string(argument).as_str().to_owned())
}

fn read(flag: &str, argument: &str) -> Result<(String, String), Failure> {
    let unreadable =
        |origin: &str, error: &dyn std::fmt::Display| Failure::usage(format!("{flag}: cannot read {origin}: {error}"));
    if argument == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable("standard input", &error))?;
        return Ok((format!("{flag}: standard input"), text));
    }
    match argument.strip_prefix('@') {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
            // Editors of another system begin files so; JSON does not.
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            Ok((format!("{flag}: {file}"), text))
        }
        None => Ok((format!("{flag}: the text"), argument.to_owned())),
    }
}

/// What the caller may have meant.
fn hint(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "; it is empty: leave it out, or say null".to_owned();
    }
    let is_word = !text.starts_with(['{', '[', '"']) && text.len() <= 60 && !text.contains('\'');
    if is_word {
        format!("; for a text write it as a JSON string, in the shell '{}'", Json::string(text).as_str())
    } else {
        "; in the shell put it between single quotes, or write it to a file and say @FILE".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::manage::failure::Exit;

    #[test]
    fn json_is_taken_as_it_is_from_text_and_file() {
        assert_eq!(json("--input", " {\"a\": 1.0}").unwrap(), " {\"a\": 1.0}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "\u{feff}[1,\n 2]").unwrap();
        let argument = format!("@{}", file.path().display());
        assert_eq!(json("--input", &argument).unwrap(), "[1,\n 2]");
        assert_eq!(core_tools("--input", &argument).unwrap(), "[1,\n 2]");
    }

    #[test]
    fn bad_json_names_the_place_and_the_remedy() {
        for (text, parts) in [
            ("hello", vec!["--data: the text", "line 1 column 1", "'\"hello\"'"]),
            ("{\"a\":}", vec!["line 1 column 6", "single quotes"]),
            ("[1] 2", vec!["trailing characters", "column 5"]),
            ("", vec!["it is empty", "null"]),
            ("@/no/such/file", vec!["cannot read /no/such/file"]),
        ] {
            let failure = json("--data", text).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            for part in parts {
                assert!(failure.message.contains(part), "{part} in {}", failure.message);
            }
        }
    }

    #[test]
    fn the_core_tools_take_text_as_a_string() {
        assert_eq!(core_tools("--input", "+81 \"x\"").unwrap(), "\"+81 \\\"x\\\"\"");
        assert_eq!(core_tools("--input", "{\"a\":1}").unwrap(), "\"{\\\"a\\\":1}\"");
        assert!(core_tools("--input", "@/no/such/file").is_err());
    }
}
