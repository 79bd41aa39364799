//! Whether a command printed what a page shows.

/// Whether the lines are as expected: `[..]` stands for any text in a line, a line `...` for any number of lines. White space at the
/// end of a line does not count.
#[must_use]
pub fn matches(expected: &[&str], actual: &[&str]) -> bool {
    match expected.split_first() {
        None => actual.is_empty(),
        Some((&"...", rest)) => (0..=actual.len()).any(|skip| matches(rest, actual.get(skip..).unwrap_or_default())),
        Some((line, rest)) => {
            actual.split_first().is_some_and(|(first, others)| line_matches(line, first) && matches(rest, others))
        }
    }
}

fn line_matches(expected: &str, actual: &str) -> bool {
    let Some((start, rest)) = expected.split_once("[..]") else { return expected.trim_end() == actual.trim_end() };
    let Some(actual) = actual.strip_prefix(start) else { return false };
    let ends = actual.char_indices().map(|(at, _)| at).chain([actual.len()]);
    ends.into_iter().any(|at| line_matches(rest, actual.get(at..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn lines_are_the_same_but_for_what_is_left_open() {
        assert!(matches(&["a [..] c", "..."], &["a b b c ", "x", "y"]));
        assert!(matches(&["...", "last"], &["last"]));
        assert!(matches(&["token [..]"], &["token "]));
        assert!(!matches(&["a"], &["a", "b"]));
        assert!(!matches(&["a", "b"], &["a"]));
        assert!(!matches(&["a [..] c"], &["a b d"]));
        assert!(!matches(&["...", "last"], &["last", "more"]));
    }
}
