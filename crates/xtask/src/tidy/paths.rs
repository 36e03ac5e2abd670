//! No file speaks of the machine it was written on.

use std::path::Path;

use super::Finding;
use crate::tree::Tree;

/// Folders in which somebody's own files lie.
const PERSONAL: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Finds paths into somebody's own folders, and the place of this very copy of the repository.
pub(crate) fn check(tree: &Tree, top: &Path) -> Vec<Finding> {
    let here = top.to_str().filter(|top| top.matches('/').count() > 1).unwrap_or(PERSONAL[0]);
    let mut findings = Vec::new();
    for (path, text) in tree.under("") {
        for (index, line) in text.lines().enumerate() {
            let found = PERSONAL.iter().copied().chain([here]).find(|folder| begins_a_path(line, folder));
            if let Some(folder) = found {
                findings.push(Finding::line(path, index + 1, format!("`{folder}` is a path of one machine")));
            }
        }
    }
    findings
}

/// Whether `folder` stands in `line` as the beginning of a path, not in the middle of one.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '/' | '.' | '_' | '-' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found() {
        let [root, home, _] = PERSONAL;
        let text =
            format!("see {root}notes\n\"{home}me/x\"\nsrc{home}page /usr/bin\n/srv/copy/of/it/README.md\n");
        let tree = Tree::from([("README.md", text.as_str())]);

        let found = lines(&check(&tree, Path::new("/srv/copy/of/it")));

        assert_eq!(
            found,
            [
                format!("README.md:1: `{root}` is a path of one machine"),
                format!("README.md:2: `{home}` is a path of one machine"),
                "README.md:4: `/srv/copy/of/it` is a path of one machine".to_owned(),
            ]
        );
    }
}
