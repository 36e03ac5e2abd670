//! What a mistyped name was probably meant to be.

/// The name that is most like `name`, if one is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Of a short name little would be left.
    let most = (name.len() / 2).min(2);
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= most)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_one_that_has_a_slip_and_by_no_other() {
        let known = ["add", "mean", "square", "sum"];

        assert_eq!(nearest("sqaure", known), Some("square"));
        assert_eq!(nearest("squares", known), Some("square"));
        assert_eq!(nearest("ad", known), Some("add"));
        assert_eq!(nearest("gzip", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("square", []), None);
    }
}
