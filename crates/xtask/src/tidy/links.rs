//! Links in Markdown files: every relative one leads to a file that exists, and every `#anchor` to a heading.

use std::collections::BTreeSet;

use super::Finding;
use crate::tree::Tree;

/// Checks every link of every Markdown file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("md") {
        for (line, target) in links(text) {
            if let Some(wrong) = broken(tree, path, target) {
                findings.push(Finding::line(path, line, format!("link to `{target}`: {wrong}")));
            }
        }
    }
    findings
}

/// What is wrong with `target`, seen from the file at `path`.
fn broken(tree: &Tree, path: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
    let Some(file) = file.filter(|file| tree.has(file)) else { return Some("no such file") };
    if anchor.is_empty() || !file.ends_with(".md") {
        return None;
    }
    let headings = tree.text(&file).map(anchors).unwrap_or_default();
    (!headings.contains(anchor)).then_some("no such heading")
}

/// `target` relative to the folder of `path`; `None` where it leaves the repository.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The targets of `[text](target)` and `[name]: target`, with their lines; code is not looked at.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (line, prose) in prose_lines(text) {
        if let Some((name, target)) = prose.split_once("]: ")
            && name.starts_with('[')
        {
            found.push((line, target.trim()));
        }
        let mut rest = prose;
        while let Some(at) = rest.find("](") {
            let after = &rest[at + 2..];
            let Some(end) = after.find(')') else { break };
            if !inside_code(rest, at) {
                found.push((line, after[..end].split_whitespace().next().unwrap_or_default()));
            }
            rest = &after[end..];
        }
    }
    found
}

/// Whether an odd number of backticks stands before `at`.
fn inside_code(line: &str, at: usize) -> bool {
    line[..at].matches('`').count() % 2 == 1
}

/// The lines outside fenced code, counted from 1.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// The anchors of the headings of `text`, as the usual renderers make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose_lines(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut unique = anchor.clone();
        let mut count = 0;
        while !anchors.insert(unique.clone()) {
            count += 1;
            unique = format!("{anchor}-{count}");
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::*;

    fn found(readme: &str) -> Vec<String> {
        let tree = Tree::from([
            ("docs/index.md", readme),
            ("docs/other.md", "# One thing\n## `x`: a & b\n## Twice\n## Twice\n"),
            ("README.md", ""),
        ]);
        lines(&check(&tree))
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text = "# Top\n[a](other.md) [b](../README.md \"title\") [c](#top) [d](other.md#x-a--b) [e](https://x.y/z)\n\
                    [f](../docs/) [g](other.md#twice-1)\n[h]: other.md\n";

        assert_eq!(found(text), [""; 0]);
    }

    #[test]
    fn links_to_nowhere_are_found_with_their_line() {
        let text =
            "\n[a](gone.md) and [b](../../outside.md)\n[c](#nowhere)\n[d](other.md#three)\n[e]: gone.md\n";

        assert_eq!(
            found(text),
            [
                "docs/index.md:2: link to `gone.md`: no such file",
                "docs/index.md:2: link to `../../outside.md`: no such file",
                "docs/index.md:3: link to `#nowhere`: no such heading",
                "docs/index.md:4: link to `other.md#three`: no such heading",
                "docs/index.md:5: link to `gone.md`: no such file",
            ]
        );
    }

    #[test]
    fn code_is_not_looked_at() {
        let text = "```\n[a](gone.md)\n```\n`v[i](gone.md)`\n";

        assert_eq!(found(text), [""; 0]);
    }
}
