//! The texts of new apps and functions, and how a function's name becomes names in Rust.

use std::fmt;

/// A kind of function that `soloist new` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Answers requests
    Http,
    /// Answers requests by starting an orchestration
    Starter,
    /// Steps that go on after a crash
    #[value(alias = "orchestrator")]
    Orchestration,
    /// A step, with effects
    Activity,
    /// State with operations that run one after the other
    Entity,
    /// Runs on a schedule
    Timer,
}

impl Kind {
    /// `src/lib.rs`, then `function.json`.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Http => (include_str!("templates/http.rs.txt"), include_str!("templates/http.json")),
            Self::Starter => (include_str!("templates/starter.rs.txt"), include_str!("templates/starter.json")),
            Self::Orchestration => {
                (include_str!("templates/orchestration.rs.txt"), include_str!("templates/orchestration.json"))
            }
            Self::Activity => (include_str!("templates/activity.rs.txt"), include_str!("templates/activity.json")),
            Self::Entity => (include_str!("templates/entity.rs.txt"), include_str!("templates/entity.json")),
            Self::Timer => (include_str!("templates/timer.rs.txt"), include_str!("templates/timer.json")),
        }
    }

    /// True if its route begins with its name.
    pub(super) fn has_route(self) -> bool {
        match self {
            Self::Http | Self::Starter => true,
            Self::Orchestration | Self::Activity | Self::Entity | Self::Timer => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Starter => "starter",
            Self::Orchestration => "orchestration",
            Self::Activity => "activity",
            Self::Entity => "entity",
            Self::Timer => "timer",
        })
    }
}

/// A function to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewFunction<'a> {
    pub(super) kind: Kind,
    /// Its name, checked.
    pub(super) name: &'a str,
    /// The route of a starter; by default it begins with the name.
    pub(super) route: Option<&'a str>,
    /// The code in place of the kind's.
    pub(super) code: Option<&'static str>,
}

impl NewFunction<'_> {
    /// The files of its folder: their paths in it, and their texts.
    pub(super) fn files(self) -> Vec<(&'static str, String)> {
        let Names { krate, ident, of_type, is_renamed } = Names::of(self.name);
        let attribute = if is_renamed { format!("(name = \"{}\")", self.name) } else { String::new() };
        let own_route = format!("{}/{{functionName}}", self.name);
        let sdk = "soloist-sdk = { workspace = true }";
        let dependencies =
            if self.kind == Kind::Entity { format!("serde = {{ workspace = true }}\n{sdk}") } else { sdk.to_owned() };
        let fill = |text: &str| {
            text.replace("{{name}}", self.name)
                .replace("{{crate}}", &krate)
                .replace("{{ident}}", &ident)
                .replace("{{type}}", &of_type)
                .replace("{{attribute}}", &attribute)
                .replace("{{route}}", self.route.unwrap_or(&own_route))
                .replace("{{dependencies}}", &dependencies)
        };
        let (code, metadata) = self.kind.texts();
        vec![
            ("src/lib.rs", fill(self.code.unwrap_or(code))),
            ("function.json", fill(metadata)),
            ("Cargo.toml", fill(include_str!("templates/crate.toml"))),
        ]
    }
}

/// The `Cargo.toml` of an app with these functions, whose crates find the SDK at this path.
pub(super) fn workspace(sdk: &str, functions: &[&str]) -> String {
    let path = toml_edit::Value::from(sdk);
    let dependency = format!("soloist-sdk = {{ path = {} }}", path.to_string().trim());
    let members: String = functions.iter().map(|name| format!("    \"{name}\",\n")).collect();
    include_str!("templates/workspace.toml").replace("{{sdk}}", &dependency).replace("{{members}}", &members)
}

/// A function's name in Rust.
struct Names {
    krate: String,
    ident: String,
    of_type: String,
    /// The names in code do not lead to the function's.
    is_renamed: bool,
}

/// What no function or type can be called.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// What a crate must not be called, beside keywords: cargo and rustc mean something else by it.
const CRATES: &[&str] = &[
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "proc-macro",
    "std",
    "test",
    "soloist-sdk",
    "soloist-sdk-macros",
];

/// What an entity's struct must not be called, in lower case: its code uses these names for something else.
const TYPES: &[&str] = &[
    "activitycontext",
    "badrequest",
    "box",
    "clienterror",
    "default",
    "deserialize",
    "durableclient",
    "durablehttprequest",
    "durablehttpresponse",
    "entitycontext",
    "entityid",
    "err",
    "failure",
    "httperror",
    "httprequest",
    "httpresponse",
    "httpresult",
    "json",
    "level",
    "none",
    "ok",
    "option",
    "orchestrationcontext",
    "overridablestates",
    "result",
    "retrypolicy",
    "serialize",
    "some",
    "startoptions",
    "startoutcome",
    "string",
    "suborchestrationoptions",
    "taskoptions",
    "timerinfo",
    "timestamp",
    "tokensource",
    "vec",
];

impl Names {
    fn of(name: &str) -> Self {
        let words = words(name);
        let (snake, kebab) = (words.join("_"), words.join("-"));
        let capital = |word: &String| word[..1].to_ascii_uppercase() + &word[1..];
        let camel: String = words.iter().map(capital).collect();
        let is_taken = KEYWORDS.contains(&&*snake) || TYPES.contains(&&*camel.to_ascii_lowercase());
        let is_crate_taken = is_taken || CRATES.contains(&&*kebab);
        Self {
            krate: if is_crate_taken { format!("{kebab}-function") } else { kebab },
            ident: if is_taken { format!("{snake}_function") } else { snake },
            of_type: if is_taken { format!("{camel}Entity") } else { camel },
            is_renamed: is_taken,
        }
    }
}

/// The crate's name of a function.
pub(super) fn crate_name(function: &str) -> String {
    Names::of(function).krate
}

/// The words of a name, in lower case: `E1_SayHello` is `e1`, `say`, `hello`; `HTTPStart` is `http`, `start`.
fn words(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, character) in characters.iter().enumerate() {
        if !character.is_ascii_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = at.checked_sub(1).map(|at| characters[at]);
        let ends_acronym = characters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        let begins =
            character.is_ascii_uppercase() && before.is_some_and(|before| !before.is_ascii_uppercase() || ends_acronym);
        if begins {
            words.push(String::new());
        }
        words.last_mut().expect("there is always one").push(character.to_ascii_lowercase());
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_rust_are_the_functions_words() {
        for (name, krate, ident, of_type) in [
            ("SayHello", "say-hello", "say_hello", "SayHello"),
            ("E1_SayHello", "e1-say-hello", "e1_say_hello", "E1SayHello"),
            ("HTTPStart", "http-start", "http_start", "HttpStart"),
            ("a-b__c-", "a-b-c", "a_b_c", "ABC"),
            ("x2Y", "x2-y", "x2_y", "X2Y"),
            ("test", "test-function", "test", "Test"),
            ("Match", "match-function", "match_function", "MatchEntity"),
            ("Option", "option-function", "option_function", "OptionEntity"),
        ] {
            let names = Names::of(name);
            assert_eq!((&*names.krate, &*names.ident, &*names.of_type), (krate, ident, of_type), "{name}");
            // The SDK finds a function whatever its case, underscores and hyphens.
            let bare = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
            assert!(names.is_renamed || (bare(name) == bare(ident) && bare(name) == bare(of_type)), "{name}");
        }
    }

    #[test]
    fn every_placeholder_is_filled() {
        use clap::ValueEnum as _;
        for kind in Kind::value_variants() {
            for (path, text) in (NewFunction { kind: *kind, name: "SayHello", route: None, code: None }).files() {
                assert!(!text.contains("{{"), "{kind} {path}: {text}");
            }
        }
        let workspace = workspace("a\"b", &["A", "B"]);
        assert!(
            workspace.contains("path = 'a\"b'") && workspace.contains("[\n    \"A\",\n    \"B\",\n]"),
            "{workspace}"
        );
    }
}
