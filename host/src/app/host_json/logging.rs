//! `logging.logLevel`: from which level on each category is logged.

use std::collections::BTreeMap;

use super::section::Section;
use crate::app::diagnostic::Report;
use crate::app::json::Node;

/// The lowest level of a category that is logged, in the words of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogThreshold {
    /// Everything.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What happens.
    Information,
    /// What is wrong and was dealt with.
    Warning,
    /// What somebody must look at.
    Error,
    /// Here the same as [`LogThreshold::Error`]: no line is worse.
    Critical,
    /// Nothing.
    None,
}

impl LogThreshold {
    /// The names of all, from the lowest on.
    pub const NAMES: &'static [&'static str] =
        &["Trace", "Debug", "Information", "Warning", "Error", "Critical", "None"];

    const ALL: [Self; 7] =
        [Self::Trace, Self::Debug, Self::Information, Self::Warning, Self::Error, Self::Critical, Self::None];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// The level of each category, as the file names it.
pub(super) fn read_log_levels(top: &Section<'_>, report: &mut Report) -> BTreeMap<String, LogThreshold> {
    let levels = top.section("logging", report).section("logLevel", report);
    let level = |(name, node): (&str, &Node)| {
        let found = node.scalar_text().unwrap_or_default();
        LogThreshold::parse(&found).map(|level| (name.to_owned(), level)).ok_or_else(|| {
            let wanted = format!("one of {}", LogThreshold::NAMES.join(", "));
            levels.invalid(name, &wanted, node).similar(&found, LogThreshold::NAMES.iter().copied())
        })
    };
    let properties = levels.node.map(Node::properties).unwrap_or_default().iter();
    let present =
        properties.map(|property| (property.name.as_str(), &property.node)).filter(|(_, node)| !node.is_null());
    present.filter_map(|pair| report.keep(level(pair))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_its_name_in_any_case() {
        for (level, name) in LogThreshold::ALL.into_iter().zip(LogThreshold::NAMES) {
            assert_eq!(LogThreshold::parse(&name.to_uppercase()), Some(level));
            assert_eq!(level.as_str(), *name);
        }
        assert_eq!(LogThreshold::parse("info"), None);
    }
}
