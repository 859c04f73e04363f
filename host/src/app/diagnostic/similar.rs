//! Which known name a misspelt one stands for.

/// The known name closest to `found`, if it is close enough to be meant: one slip in three letters, or a name that begins
/// or ends with the other. Case does not count.
pub(in crate::app) fn closest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer ones are no slip of anyone's, and comparing them takes time that grows with the square of the length.
    if found.len() > 64 {
        return None;
    }
    let lower = found.to_lowercase();
    let distance = |name: &str| strsim::osa_distance(&lower, &name.to_lowercase());
    let is_part = |name: &str| {
        let name = name.to_lowercase();
        let (short, long) = if name.len() < lower.len() { (&name, &lower) } else { (&lower, &name) };
        short.len() >= 4 && 2 * short.len() >= long.len() && (long.starts_with(short) || long.ends_with(short))
    };
    let candidates = known.into_iter().map(|name| (distance(name), name));
    let meant = candidates.filter(|(distance, name)| {
        let slips = name.chars().count().max(lower.chars().count()) / 3;
        *distance <= slips.min(4) || is_part(name)
    });
    meant.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_and_other_names_left_alone() {
        let known = ["httpTrigger", "timerTrigger", "http", "schedule", "durableClient", "authLevel"];
        for (found, meant) in [
            ("htttpTrigger", Some("httpTrigger")),
            ("HTTP_Trigger", Some("httpTrigger")),
            ("timmerTriger", Some("timerTrigger")),
            ("shedule", Some("schedule")),
            ("auth-level", Some("authLevel")),
            ("cilent", None),
            ("queue", None),
            ("", None),
        ] {
            assert_eq!(closest(found, known), meant, "{found}");
        }
        assert_eq!(closest(&"x".repeat(100_000), known), None);
    }
}
