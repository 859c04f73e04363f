//! A request's query: names and values, percent-decoded, in order.

use std::{str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;

use super::time;
use crate::durable::{RuntimeStatus, Timestamp};

/// The parameters of a query. For the management API names compare without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the text after the `?`. `+` is a space; bytes that are not UTF-8 become U+FFFD; a name without `=` has an empty
    /// value. Every text is a query.
    pub(super) fn parse(text: &str) -> Self {
        let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// Everything, in order; names may repeat.
    pub(super) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    /// Every value of a name.
    pub(super) fn all<'a, 'n>(&'a self, name: &'n str) -> impl DoubleEndedIterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The last value of a name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next_back()
    }

    /// A boolean in any case; what is none counts as absent.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let text = self.text(name)?.trim();
        [("true", true), ("false", false)]
            .into_iter()
            .find_map(|(word, value)| text.eq_ignore_ascii_case(word).then_some(value))
    }

    /// A number; what is none counts as absent.
    pub(super) fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        self.text(name)?.trim().parse().ok()
    }

    /// A time; what is none counts as absent.
    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        time::parse(self.text(name)?)
    }

    /// Seconds, with fractions; what is negative or no number counts as absent.
    pub(super) fn seconds(&self, name: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.number(name)?).ok()
    }

    /// Statuses, separated by commas or in several parameters; unknown names are passed over.
    pub(super) fn statuses(&self, name: &str) -> Vec<RuntimeStatus> {
        self.all(name).flat_map(|list| list.split(',')).filter_map(|word| word.trim().parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_order_repeats_and_empty_values() {
        let pairs = Query::parse("a=1&b=x+y%2B&a=2&&flag&e=&%C3%A4=%ff&u=a=b").into_pairs();
        let expected =
            [("a", "1"), ("b", "x y+"), ("a", "2"), ("flag", ""), ("e", ""), ("ä", "\u{fffd}"), ("u", "a=b")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn names_and_booleans_ignore_case_and_nonsense_counts_as_absent() {
        let query =
            Query::parse("SHOWINPUT=True&showHistory=FALSE&other=1&top=ten&timeout=1.5&pollingInterval=-1&x=NaN");
        assert_eq!(query.flag("showInput"), Some(true));
        assert_eq!(query.flag("showHistory"), Some(false));
        assert_eq!(query.flag("other"), None);
        assert_eq!(query.number::<usize>("top"), None);
        assert_eq!(query.seconds("timeout"), Some(Duration::from_millis(1500)));
        assert_eq!(query.seconds("pollingInterval"), None);
        assert_eq!(query.seconds("x"), None);
    }

    #[test]
    fn statuses_come_as_a_list_or_repeated() {
        let query = Query::parse("runtimeStatus=Running,pending&RuntimeStatus=Nonsense&runtimestatus=Completed");
        assert_eq!(
            query.statuses("runtimeStatus"),
            [RuntimeStatus::Running, RuntimeStatus::Pending, RuntimeStatus::Completed]
        );
    }
}
