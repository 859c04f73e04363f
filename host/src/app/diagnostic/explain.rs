//! What each code means: the sections of `docs/diagnostics.md`, which is compiled in.

use super::Code;

const TEXT: &str = include_str!("../../../../docs/diagnostics.md");

/// A file of a code's example: an app that has it is reported with the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// The file's path in the app.
    pub path: &'static str,
    /// What it holds.
    pub text: &'static str,
}

/// The explanation of a code: Markdown, its title first.
pub fn explanation(code: Code) -> &'static str {
    let heading = format!("## {code}: ");
    let start = TEXT.find(&heading).expect("every code has a section: a test checks it");
    let section = &TEXT[start + "## ".len()..];
    section.find("\n## ").map_or(section, |end| &section[..end]).trim_end()
}

impl Code {
    /// In a few words what it is: the title of its explanation.
    pub fn title(self) -> &'static str {
        let first = explanation(self).lines().next().unwrap_or_default();
        first.split_once(": ").map_or(first, |(_, title)| title)
    }

    /// The files of the example in its explanation: code blocks whose info string names a file.
    pub fn example(self) -> Vec<Example> {
        let mut examples = Vec::new();
        let mut rest = explanation(self);
        while let Some((_, block)) = rest.split_once("\n```") {
            let Some((info, body)) = block.split_once('\n') else { break };
            let Some((text, after)) = body.split_once("\n```") else { break };
            if let Some((_, path)) = info.split_once(' ') {
                examples.push(Example { path, text });
            }
            rest = after;
        }
        examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_and_nothing_else_is() {
        for code in Code::ALL {
            let text = explanation(*code);
            assert!(text.contains("\n**What helps.** "), "{code} has no remedy");
            assert!(text.lines().count() > 4, "{code} is hardly explained");
            assert!(code.title().len() > 8, "{code}");
        }
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let sections: Vec<&str> = TEXT
            .lines()
            .filter_map(|line| line.strip_prefix("## S")?.split_once(": ").map(|(number, _)| number))
            .collect();
        let numbers: Vec<&str> = codes.iter().map(|code| &code[1..]).collect();
        assert_eq!(sections, numbers, "the sections are the codes, in order");
        assert!(codes.is_sorted() && codes.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
