//! Tables in Markdown: reading their rows, and replacing the generated ones between their marks.

/// The cells of each body row of every table in `text`, with the line number of the row.
pub(crate) fn rows(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut rows = Vec::new();
    let mut in_body = false;
    for (index, line) in text.lines().enumerate() {
        let Some(inner) = line.trim().strip_prefix('|') else {
            in_body = false;
            continue;
        };
        if !in_body {
            in_body = inner.chars().all(|c| matches!(c, '-' | ':' | '|' | ' '));
            continue;
        }
        let cells = inner.strip_suffix('|').unwrap_or(inner).split('|').map(str::trim).collect();
        rows.push((index + 1, cells));
    }
    rows
}

/// `text` with what stands between `<!-- NAME -->` and `<!-- end of NAME -->` replaced by `inner`.
///
/// `None` where the marks are missing.
pub(crate) fn between_marks(text: &str, name: &str, inner: &str) -> Option<String> {
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{inner}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_below_the_rule_of_a_table() {
        let text = "# Head\n\n| a | b |\n|---|:-:|\n| `x` | 1 |\n| y | |\n\nno | row\n";

        let rows = rows(text);

        assert_eq!(rows, [(5, vec!["`x`", "1"]), (6, vec!["y", ""])]);
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = "a\n<!-- t -->\nold\n<!-- end of t -->\nz\n";

        let replaced = between_marks(text, "t", "new\n");

        assert_eq!(replaced.as_deref(), Some("a\n<!-- t -->\nnew\n<!-- end of t -->\nz\n"));
        assert_eq!(between_marks(text, "other", "new\n"), None);
    }
}
