//! The matrix of a workflow's job: one step stands for many builds.

use std::collections::BTreeMap;

use super::{
    super::yaml::{Node, Value},
    File, FileKind,
};

/// Combinations of one matrix that are looked at.
const MOST: usize = 64;

/// The values of one run of a job, by the names of the matrix.
pub(super) type Values = BTreeMap<String, String>;

/// A job with a matrix whose values the file says.
pub(super) struct Matrix {
    from: usize,
    to: usize,
    runs: Vec<Values>,
}

/// The matrices of a workflow.
pub(super) fn of(file: &File) -> Vec<Matrix> {
    let mut found = Vec::new();
    let jobs = file.yaml.iter().filter(|_| file.kind == FileKind::GitHub).filter_map(|document| document.get("jobs")?.as_map());
    for jobs in jobs {
        for (at, job) in jobs.iter().enumerate() {
            let matrix = job.node.get("strategy").and_then(|strategy| strategy.get("matrix"));
            let to = jobs.get(at + 1).map_or(usize::MAX, |next| next.line - 1);
            let runs = matrix.map(runs).unwrap_or_default();
            if !runs.is_empty() {
                found.push(Matrix { from: job.line, to, runs });
            }
        }
    }
    found
}

/// The combinations of a matrix: the product of its lists, each made more by the `include` entries that agree with it, and those entries
/// that agree with none (GitHub's rule). Empty where a value is computed.
fn runs(matrix: &Node) -> Vec<Values> {
    let Some(entries) = matrix.as_map() else { return Vec::new() };
    let mut runs = vec![Values::new()];
    for entry in entries.iter().filter(|entry| entry.key != "include" && entry.key != "exclude") {
        let Some(items) = entry.node.as_seq() else { return Vec::new() };
        let mut more = Vec::new();
        for run in &runs {
            for item in items.iter().filter_map(Node::as_text).take(MOST) {
                let mut run = run.clone();
                run.insert(entry.key.clone(), item.to_owned());
                more.push(run);
            }
        }
        more.truncate(MOST);
        runs = more;
    }
    let base: Vec<Values> = runs.clone();
    if runs.first().is_some_and(Values::is_empty) {
        runs.clear();
    }
    for include in matrix.get("include").and_then(Node::as_seq).unwrap_or_default().iter().take(MOST) {
        let pairs: Values = include
            .as_map()
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), entry.node.as_text()?.to_owned())))
            .collect();
        // What it says of a name of the product has to agree; other names it adds.
        let agrees = |original: &Values| pairs.iter().all(|(name, value)| original.get(name).is_none_or(|known| known == value));
        let mut added = false;
        for (run, original) in runs.iter_mut().zip(&base).filter(|(_, original)| !original.is_empty()) {
            if agrees(original) {
                run.extend(pairs.clone());
                added = true;
            }
        }
        if !added && !pairs.is_empty() {
            runs.push(pairs);
        }
    }
    runs.truncate(MOST);
    runs
}

/// What a line of a workflow runs with: one empty set of values where no matrix has a part in the text.
pub(super) fn values(matrices: &[Matrix], line: usize, mentions: bool) -> Vec<Values> {
    let matrix = matrices.iter().find(|matrix| mentions && (matrix.from..=matrix.to).contains(&line));
    matrix.map_or_else(|| vec![Values::new()], |matrix| matrix.runs.clone())
}

/// A text with `${{ matrix.NAME }}` replaced.
pub(super) fn fill(text: &str, values: &Values) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${{") {
        let Some(end) = rest[at..].find("}}").map(|end| at + end + 2) else { break };
        out.push_str(&rest[..at]);
        let name = rest[at + 3..end - 2].trim().strip_prefix("matrix.");
        match name.and_then(|name| values.get(name)) {
            Some(value) => out.push_str(value),
            None => out.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// A node with the texts in it filled.
pub(super) fn fill_node(node: &Node, values: &Values) -> Node {
    let mut node = node.clone();
    fill_in(&mut node, values, 0);
    node
}

fn fill_in(node: &mut Node, values: &Values, depth: usize) {
    match &mut node.value {
        Value::Scalar(text, _) => *text = fill(text, values),
        Value::Map(entries) if depth < 100 => entries.iter_mut().for_each(|entry| fill_in(&mut entry.node, values, depth + 1)),
        Value::Seq(items) if depth < 100 => items.iter_mut().for_each(|item| fill_in(item, values, depth + 1)),
        _ => {}
    }
}

/// Whether a node's texts speak of the matrix.
pub(super) fn is_in(node: &Node) -> bool {
    let mut todo = vec![node];
    while let Some(node) = todo.pop() {
        match &node.value {
            Value::Scalar(text, _) if text.contains("matrix.") => return true,
            Value::Map(entries) => todo.extend(entries.iter().map(|entry| &entry.node)),
            Value::Seq(items) => todo.extend(items),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{super::super::yaml, *};

    fn shown(text: &str) -> Vec<String> {
        let document = yaml::parse(text, 0).unwrap().remove(0);
        runs(&document).iter().map(|run| run.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn products_and_includes() {
        assert_eq!(shown("a: [1, 2]\nb: [x, y]\n"), ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]);
        assert_eq!(shown("include:\n  - s: api\n    d: ./api\n  - s: web\n    d: ./web\n"), ["d=./api s=api", "d=./web s=web"]);
        assert_eq!(shown("a: [1, 2]\ninclude:\n  - a: 1\n    b: x\n  - a: 3\n"), ["a=1 b=x", "a=2", "a=3"]);
        assert!(shown("a: ${{ fromJSON(x) }}\n").is_empty());
    }

    #[test]
    fn texts_are_filled() {
        let values = Values::from([("s".to_owned(), "api".to_owned())]);
        assert_eq!(fill("services/${{ matrix.s }}/${{matrix.s}}", &values), "services/api/api");
        assert_eq!(fill("${{ matrix.other }} ${{ env.X }} ${{ open", &values), "${{ matrix.other }} ${{ env.X }} ${{ open");
    }
}
