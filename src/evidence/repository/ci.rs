//! Shell commands inside other files: CI steps, recipes of Makefiles, `sh` steps of Jenkinsfiles.

use super::{
    super::{
        build_command::{ScriptCommand, commands_in_script},
        yaml::{Node, Value},
    },
    Variable,
};

/// Keys whose values are shell commands: GitHub's `run`, GitLab's lists.
const SCRIPT_KEYS: [&str; 4] = ["run", "script", "before_script", "after_script"];
/// Keys whose entries are variables.
const VARIABLE_KEYS: [&str; 3] = ["env", "environment", "variables"];
/// Levels that are walked down; the reader of YAML allows no more.
const MAX_DEPTH: usize = 100;

/// The commands of a CI file, in the order of the file.
pub(super) fn commands(text: &str, documents: &[Node]) -> Vec<ScriptCommand> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for document in documents {
        steps(document, &lines, 0, &mut found);
    }
    // An anchor's text is read wherever an alias stands for it; its lines are the anchor's.
    found.sort_by_key(|command: &ScriptCommand| command.line);
    found.dedup();
    found
}

fn steps(node: &Node, lines: &[&str], depth: usize, found: &mut Vec<ScriptCommand>) {
    if depth > MAX_DEPTH {
        return;
    }
    match &node.value {
        Value::Map(entries) => {
            let dir = node.get("working-directory").and_then(Node::as_text);
            for entry in entries {
                if SCRIPT_KEYS.contains(&entry.key.as_str()) {
                    let before = found.len();
                    script(&entry.node, lines, depth, found);
                    if let Some(dir) = dir.filter(|dir| !dir.is_empty()) {
                        for command in &mut found[before..] {
                            let inner = command.dir.take();
                            command.dir = Some(inner.map_or_else(|| dir.into(), |inner| std::path::Path::new(dir).join(inner)));
                            command.dir_unknown |= dir.contains('$');
                            let written = command.written_dir.take();
                            let absolute = written.as_ref().is_some_and(|written| written.starts_with(['/', '$']));
                            command.written_dir = match written {
                                Some(written) if absolute => Some(written),
                                Some(written) => Some(format!("{dir}/{written}")),
                                None => Some(dir.to_owned()),
                            };
                        }
                    }
                } else {
                    steps(&entry.node, lines, depth + 1, found);
                }
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| steps(item, lines, depth + 1, found)),
        Value::Scalar(..) | Value::Null => {}
    }
}

/// A script: one text, or a list of them that one shell runs (GitLab), lists in lists too.
fn script(node: &Node, lines: &[&str], depth: usize, found: &mut Vec<ScriptCommand>) {
    match &node.value {
        Value::Seq(items) if depth <= MAX_DEPTH => {
            // A `cd` of one item holds in the next.
            let mut pieces = Vec::new();
            pieces_of(items, lines, depth, &mut pieces);
            let Some(first) = pieces.first().map(|(line, _)| *line) else { return };
            let mut text = String::new();
            let mut at = first;
            for (line, piece) in pieces {
                while at < line {
                    text.push('\n');
                    at += 1;
                }
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push(';');
                }
                at += piece.matches('\n').count();
                text.push_str(&piece);
            }
            found.extend(commands_in_script(&text, first));
        }
        Value::Scalar(text, _) => {
            let (line, text) = placed(node.line, text, lines);
            found.extend(commands_in_script(&text, line));
        }
        // `script` is an object in some actions' inputs.
        Value::Map(_) => steps(node, lines, depth + 1, found),
        Value::Seq(_) | Value::Null => {}
    }
}

fn pieces_of(items: &[Node], lines: &[&str], depth: usize, pieces: &mut Vec<(usize, String)>) {
    for item in items {
        match &item.value {
            Value::Scalar(text, _) => pieces.push(placed(item.line, text, lines)),
            Value::Seq(inner) if depth <= MAX_DEPTH => pieces_of(inner, lines, depth + 1, pieces),
            _ => {}
        }
    }
}

/// The line on which a scalar's text begins, and the text with as many lines as it has in the file: block scalars begin below their
/// sign, and folded ones (`>`) get their line ends back.
fn placed(line: usize, text: &str, lines: &[&str]) -> (usize, String) {
    // The reader gives the line of the sign or of the first line of text, as the parser has it.
    for (at, below) in [(line, 1), (line.saturating_sub(1), 0)] {
        let Some(source) = at.checked_sub(1).and_then(|at| lines.get(at)) else { continue };
        let Some(folded) = block_sign(source) else { continue };
        // Blank lines before the text are no part of a folded text, and kept in a literal one.
        let first = line + below;
        if !folded {
            return (first, text.to_owned());
        }
        let indent = lines.get(first - 1).map_or(0, |line| line.len() - line.trim_start().len());
        let block =
            lines.iter().skip(first - 1).take_while(|line| line.trim().is_empty() || line.len() - line.trim_start().len() >= indent.max(1));
        let block: Vec<&str> = block.copied().collect();
        return (first, block.join("\\\n"));
    }
    (line, text.to_owned())
}

/// Whether a line ends in the sign of a block scalar, and whether that folds.
fn block_sign(line: &str) -> Option<bool> {
    let line = line.split(" #").next().unwrap_or(line).trim_end();
    let sign = line.rsplit([' ', '\t']).next()?;
    let mut chars = sign.chars();
    let folded = match chars.next()? {
        '|' => false,
        '>' => true,
        _ => return None,
    };
    chars.all(|c| matches!(c, '+' | '-' | '1'..='9')).then_some(folded)
}

/// The variables of a document: entries of `env`, `environment` and `variables`, as a mapping or as `K=V` items.
pub(super) fn variables(document: &Node, found: &mut Vec<Variable>) {
    let mut todo = vec![document];
    while let Some(node) = todo.pop() {
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    if VARIABLE_KEYS.contains(&entry.key.as_str()) {
                        of_block(&entry.node, found);
                    } else {
                        todo.push(&entry.node);
                    }
                }
            }
            Value::Seq(items) => todo.extend(items),
            Value::Scalar(..) | Value::Null => {}
        }
    }
}

fn of_block(node: &Node, found: &mut Vec<Variable>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                // GitLab's long form has the value below.
                let value = entry.node.as_text().or_else(|| entry.node.get("value").and_then(Node::as_text));
                if let Some(value) = value {
                    found.push(Variable { name: entry.key.clone(), value: value.to_owned(), line: entry.line });
                }
            }
        }
        Value::Seq(items) => {
            for item in items {
                if let Some((name, value)) = item.as_text().and_then(|text| text.split_once('=')) {
                    found.push(Variable { name: name.to_owned(), value: value.to_owned(), line: item.line });
                }
            }
        }
        Value::Scalar(..) | Value::Null => {}
    }
}

/// The recipes of a Makefile as a script, other lines empty: `$(X)` is a variable of make and becomes `${X}`, `$$` is the shell's dollar.
pub(super) fn makefile(text: &str) -> String {
    let mut script = String::with_capacity(text.len());
    let mut goes_on = false;
    for line in text.lines() {
        let recipe = line.strip_prefix('\t').or_else(|| goes_on.then_some(line));
        if let Some(recipe) = recipe {
            goes_on = recipe.trim_end().ends_with('\\');
            let recipe = recipe.trim_start_matches(['@', '-', '+', ' ', '\t']);
            script.push_str(&make_variables(recipe));
        } else {
            goes_on = false;
        }
        script.push('\n');
    }
    script
}

fn make_variables(recipe: &str) -> String {
    let mut out = String::with_capacity(recipe.len());
    let mut rest = recipe;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'))
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            out.push_str(&format!("${{{name}}}"));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

/// The `sh` steps of a Jenkinsfile as a script on the same lines, everything else blank.
pub(super) fn jenkinsfile(text: &str) -> String {
    let mut script = String::new();
    let mut rest = text;
    let newlines = |script: &mut String, text: &str| script.extend(text.chars().filter(|c| *c == '\n'));
    while let Some(at) = rest.find("sh") {
        let (before, after) = rest.split_at(at);
        newlines(&mut script, before);
        let word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        let inner = after[2..].trim_start_matches([' ', '\t', '(']).trim_start();
        let inner = inner.strip_prefix("script:").map_or(inner, str::trim_start);
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| inner.starts_with(quote));
        let (Some(quote), true) = (quote, word) else {
            rest = &after[2..];
            continue;
        };
        newlines(&mut script, &after[..after.len() - inner.len()]);
        let body = &inner[quote.len()..];
        let end = body.find(quote).unwrap_or(body.len());
        if !script.is_empty() && !script.ends_with('\n') {
            script.push(';');
        }
        script.push_str(&body[..end]);
        rest = body.get(end + quote.len()..).unwrap_or_default();
    }
    newlines(&mut script, rest);
    script
}

#[cfg(test)]
mod tests {
    use super::{super::super::yaml, *};

    fn places(text: &str) -> Vec<(usize, String)> {
        let documents = yaml::parse(text, 0).unwrap();
        commands(text, &documents).into_iter().map(|command| (command.line, command.words.join(" "))).collect()
    }

    fn place(line: usize, words: &str) -> (usize, String) {
        (line, words.to_owned())
    }

    #[test]
    fn blocks_have_their_lines() {
        let text = "\
jobs:
  build:
    steps:
      - uses: actions/checkout@v4
      - run: docker build .
      - name: two
        run: |
          set -e

          docker build -t x \\
            api
          docker push x
      - run: >-
          docker buildx build
          --push
          web
      - run: |2
            echo indented
      - run: \"docker pull x\"
";
        assert_eq!(
            places(text),
            [
                place(5, "docker build ."),
                place(8, "set -e"),
                place(10, "docker build -t x api"),
                place(12, "docker push x"),
                place(14, "docker buildx build --push web"),
                place(18, "echo indented"),
                place(19, "docker pull x"),
            ]
        );
    }

    #[test]
    fn lists_are_one_shell() {
        let text = ".x: &x\n  - cd api\nbuild:\n  script:\n    - cd api\n    - docker build .\n    - |\n      docker push x\n  after_script: [echo a, echo b]\n";
        let documents = yaml::parse(text, 0).unwrap();
        let found = commands(text, &documents);
        assert_eq!(found[1].dir.as_deref(), Some(std::path::Path::new("api")));
        let lines: Vec<usize> = found.iter().map(|command| command.line).collect();
        assert_eq!(lines, [5, 6, 8, 9, 9]);
    }

    #[test]
    fn working_directories() {
        let text = "steps:\n  - run: cd src && docker build .\n    working-directory: web\n";
        let documents = yaml::parse(text, 0).unwrap();
        assert_eq!(commands(text, &documents)[1].dir.as_deref(), Some(std::path::Path::new("web/src")));
    }

    #[test]
    fn variables_in_every_form() {
        let text = "env:\n  A: 1\njobs:\n  x:\n    environment:\n      - B=two\n    variables:\n      C:\n        value: three\n        description: d\n";
        let mut found = Vec::new();
        variables(&yaml::parse(text, 0).unwrap()[0], &mut found);
        found.sort_by_key(|variable| variable.line);
        let short: Vec<_> = found.iter().map(|v| (v.name.as_str(), v.value.as_str(), v.line)).collect();
        assert_eq!(short, [("A", "1", 2), ("B", "two", 6), ("C", "three", 8)]);
    }

    #[test]
    fn recipes_and_steps() {
        let make = "X = 1\nimage: deps\n\t@docker build -t $(NAME) \\\n\t  --build-arg SHA=$$(git rev-parse HEAD) .\n";
        let found = commands_in_script(&makefile(make), 1);
        let build = found.iter().find(|command| command.is_build()).unwrap();
        assert_eq!((build.line, build.words[3].as_str()), (3, "${NAME}"));
        let jenkins = "pipeline {\n  steps {\n    sh 'docker build .'\n    sh(script: \"\"\"\n      docker push x\n    \"\"\")\n    bash 'no'\n  }\n}\n";
        let found: Vec<_> = commands_in_script(&jenkinsfile(jenkins), 1).into_iter().map(|c| (c.line, c.words.join(" "))).collect();
        assert_eq!(found, [place(3, "docker build ."), place(5, "docker push x")]);
    }
}
