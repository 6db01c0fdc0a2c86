//! The builds of a script with its variables, loops and functions followed, as far as the text says what they are.
//!
//! This runs nothing. It knows assignments, arrays, `export`, `${X:-default}`, `for` loops over words, and functions called by their
//! names; conditions are taken both ways. A variable that the text does not settle stays as written.

use std::collections::{BTreeMap, BTreeSet};

use super::{script::ScriptCommand, words::Words};

/// Commands that are followed at most in one script.
const MOST_STEPS: usize = 20_000;
/// Builds that one script can give.
const MOST_BUILDS: usize = 500;
/// Values that one loop is followed over.
const MOST_VALUES: usize = 200;
/// Functions that call functions.
const MAX_DEPTH: usize = 12;

/// One build of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrolledBuild {
    /// The command among those that were given.
    pub command: usize,
    /// Its words, variables replaced where the text says what they are.
    pub words: Vec<String>,
    /// The directory that the `cd` commands before it lead to, variables replaced likewise; `None` is where the script started.
    pub dir: Option<String>,
    /// The variables that the script has exported before it, in the order of their names; the values may hold `$( … )`.
    pub exported: Vec<(String, String)>,
}

/// What a variable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
    /// It is set, to something that the text does not say.
    Unknown,
}

/// Follows a script. `given` is the environment that it is started with; `glob` gives the paths that a pattern stands for.
pub fn unroll(commands: &[ScriptCommand], given: &[(String, String)], glob: &dyn Fn(&str) -> Vec<String>) -> Vec<UnrolledBuild> {
    if !commands.iter().any(ScriptCommand::is_build) {
        return Vec::new();
    }
    let mut run = Run {
        commands,
        glob,
        variables: given.iter().map(|(name, value)| (name.clone(), Value::Text(value.clone()))).collect(),
        exported: given.iter().map(|(name, _)| name.clone()).collect(),
        export_all: false,
        functions: BTreeMap::new(),
        called: BTreeSet::new(),
        arguments: None,
        assigned: Vec::new(),
        steps: 0,
        depth: 0,
        found: Vec::new(),
    };
    run.block(0, commands.len());
    let functions: Vec<(usize, usize)> =
        run.functions.iter().filter(|(name, _)| !run.called.contains(*name)).map(|(_, body)| *body).collect();
    for (start, end) in functions {
        run.block(start, end);
    }
    // What was not reached is there as written.
    let seen: BTreeSet<usize> = run.found.iter().map(|build| build.command).collect();
    for (at, command) in commands.iter().enumerate().filter(|(at, command)| command.is_build() && !seen.contains(at)) {
        run.found.push(UnrolledBuild { command: at, words: command.words.clone(), dir: command.written_dir.clone(), exported: Vec::new() });
    }
    run.found.sort_by_key(|build| build.command);
    run.found
}

struct Run<'s> {
    commands: &'s [ScriptCommand],
    glob: &'s dyn Fn(&str) -> Vec<String>,
    variables: BTreeMap<String, Value>,
    exported: BTreeSet<String>,
    export_all: bool,
    functions: BTreeMap<String, (usize, usize)>,
    called: BTreeSet<String>,
    /// The arguments of the function that is followed.
    arguments: Option<Vec<String>>,
    /// For each condition that is followed: what the names assigned in it were before, and what its branches gave them.
    assigned: Vec<Branches>,
    steps: usize,
    depth: usize,
    found: Vec<UnrolledBuild>,
}

#[derive(Debug, Default)]
struct Branches {
    before: BTreeMap<String, Option<Value>>,
    values: BTreeMap<String, Vec<Value>>,
}

/// The first word that is no `do`, `then` or the like, and where it stands.
fn head(words: &[String]) -> (usize, &str) {
    let at = words.iter().position(|word| !matches!(word.as_str(), "do" | "then" | "else" | "{" | "!" | "&&")).unwrap_or(words.len());
    (at, words.get(at).map_or("", String::as_str))
}

impl Run<'_> {
    fn words(&self) -> Words<'_> {
        Words { variables: &self.variables, arguments: self.arguments.as_deref() }
    }

    fn block(&mut self, start: usize, end: usize) {
        let mut at = start;
        while at < end && self.steps < MOST_STEPS && self.found.len() < MOST_BUILDS {
            self.steps += 1;
            at = self.command(at, end);
        }
    }

    /// Follows one command and gives the place of the next.
    fn command(&mut self, at: usize, end: usize) -> usize {
        let commands = self.commands;
        let words = &commands[at].words;
        // `else` and `elif` begin a branch.
        if matches!(words[0].as_str(), "else" | "elif") {
            self.next_branch();
        }
        let (from, first) = head(words);
        match first {
            "for" | "select" => return self.for_loop(at, from, end),
            "if" | "case" => self.assigned.push(Branches::default()),
            "fi" | "esac" => self.end_condition(),
            "function" if words.len() > from + 1 => {
                let name = words[from + 1].trim_end_matches("()").to_owned();
                return self.function(name, at, end);
            }
            name if name.len() > 2 && name.ends_with("()") && !name.contains('=') => {
                let name = name.trim_end_matches("()").to_owned();
                return self.function(name, at, end);
            }
            _ => {}
        }
        if commands[at].is_build() {
            self.build(at);
        } else {
            let mut rest = words[from..].to_vec();
            while rest.first().is_some_and(|word| matches!(word.as_str(), "if" | "elif" | "while" | "until")) {
                rest.remove(0);
            }
            self.simple(&rest);
        }
        at + 1
    }

    fn build(&mut self, at: usize) {
        let command = &self.commands[at];
        let words = self.words();
        let expanded = words.command(&command.words);
        let dir = command.written_dir.as_deref().map(|dir| words.text(dir));
        let exported = self.exported.iter().filter_map(|name| {
            let value = match self.variables.get(name)? {
                Value::Text(text) => text.clone(),
                Value::List(list) => list.first().cloned().unwrap_or_default(),
                Value::Unknown => format!("${{{name}}}"),
            };
            Some((name.clone(), value))
        });
        let build = UnrolledBuild { command: at, words: expanded, dir, exported: exported.collect() };
        if !self.found.contains(&build) {
            self.found.push(build);
        }
    }

    fn simple(&mut self, words: &[String]) {
        let Some(first) = words.first() else { return };
        let declares = matches!(first.as_str(), "export" | "readonly" | "declare" | "typeset" | "local");
        if declares {
            let exports = first == "export" || words.iter().any(|word| word.starts_with('-') && word.contains('x'));
            for word in &words[1..] {
                let name = word.split(['=', '+']).next().unwrap_or_default().to_owned();
                if exports && is_name(&name) {
                    self.exported.insert(name);
                }
                self.assign(word);
            }
            return;
        }
        if first == "set" {
            self.export_all |= words[1..].iter().any(|word| word == "allexport" || word.starts_with('-') && word[1..].contains('a'));
            return;
        }
        if words.iter().all(|word| assigned_name(word).is_some()) {
            words.iter().for_each(|word| self.assign(word));
            return;
        }
        // GitHub: echo "NAME=value" >> "$GITHUB_ENV" sets it for the steps below.
        if first == "echo"
            && let [word] = &words[1..]
            && let Some(name) = assigned_name(word)
        {
            if self.exported.insert(name.to_owned()) && !self.variables.contains_key(name) {
                self.assign(word);
            }
            return;
        }
        let call = words.iter().position(|word| assigned_name(word).is_none()).unwrap_or(0);
        if let Some((start, end)) = self.functions.get(&words[call]).copied()
            && self.depth < MAX_DEPTH
        {
            self.called.insert(words[call].clone());
            let arguments = self.words().command(&words[call + 1..]);
            let before = self.arguments.replace(arguments);
            let conditions = std::mem::take(&mut self.assigned);
            self.depth += 1;
            self.block(start, end);
            self.depth -= 1;
            self.assigned = conditions;
            self.arguments = before;
        }
    }

    fn assign(&mut self, word: &str) {
        let Some(name) = assigned_name(word) else { return };
        let Some((target, value)) = word.split_once('=') else { return };
        let words = self.words();
        let mut value = match value.strip_prefix('(').and_then(|list| list.strip_suffix(')')) {
            Some(list) => Value::List(words.list(list.split(' ').filter(|word| !word.is_empty()), self.glob)),
            None => Value::Text(words.text(value)),
        };
        if target.ends_with('+') {
            value = match (self.variables.get(name), value) {
                (Some(Value::List(before)), Value::List(more)) => {
                    Value::List(before.iter().cloned().chain(more).take(MOST_VALUES).collect())
                }
                (Some(Value::Text(before)), Value::Text(more)) if before.len() < 10_000 => Value::Text(before.clone() + &more),
                (None, value) => value,
                _ => Value::Unknown,
            };
        }
        // A value that still refers to its own name is not known, and would grow for ever.
        let own = [format!("${name}"), format!("${{{name}")];
        if matches!(&value, Value::Text(text) if text.len() > 20_000 || own.iter().any(|own| text.contains(own.as_str()))) {
            value = Value::Unknown;
        }
        if self.export_all {
            self.exported.insert(name.to_owned());
        }
        self.set(name, value);
    }

    fn set(&mut self, name: &str, value: Value) {
        let before = self.variables.insert(name.to_owned(), value);
        if let Some(branches) = self.assigned.last_mut() {
            branches.before.entry(name.to_owned()).or_insert(before);
        }
    }

    /// Another branch begins: it knows nothing of the assignments of the one before.
    fn next_branch(&mut self) {
        let Some(branches) = self.assigned.last_mut() else { return };
        for (name, before) in std::mem::take(&mut branches.before) {
            let now = match &before {
                Some(value) => self.variables.insert(name.clone(), value.clone()),
                None => self.variables.remove(&name),
            };
            if let Some(now) = now {
                branches.values.entry(name.clone()).or_default().push(now);
            }
            if before.is_some() {
                // It had a value before the condition; that is kept.
                branches.values.remove(&name);
            }
        }
    }

    /// Behind a condition a name has the value that it had before; one that was not set has that of the branches, if they agree.
    fn end_condition(&mut self) {
        self.next_branch();
        let Some(branches) = self.assigned.pop() else { return };
        for (name, values) in branches.values {
            if self.variables.contains_key(&name) {
                continue;
            }
            let agree = values.windows(2).all(|pair| pair[0] == pair[1]);
            if let Some(value) = values.into_iter().next() {
                self.set(&name, if agree { value } else { Value::Unknown });
            }
        }
    }

    fn function(&mut self, name: String, at: usize, end: usize) -> usize {
        let commands = self.commands;
        // The body begins with the `{` of this command or of the next one.
        let own = commands[at].words.iter().any(|word| word == "{");
        let open = if own { at } else { at + 1 };
        if open >= end || !own && commands[open].words[0] != "{" {
            return at + 1;
        }
        let mut depth = 0_usize;
        for inner in open..end {
            let words = &commands[inner].words;
            let opens = words.iter().take_while(|word| matches!(word.as_str(), "{" | "do" | "then" | "else" | "!" | "if"));
            depth += opens.filter(|word| *word == "{").count() + usize::from(inner == at && own);
            if words[0] == "}" {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    self.functions.insert(name, (open + usize::from(own || words_end_in_brace(&commands[open].words)), inner));
                    return inner + 1;
                }
            }
        }
        at + 1
    }

    fn for_loop(&mut self, at: usize, from: usize, end: usize) -> usize {
        let commands = self.commands;
        let words = &commands[at].words[from..];
        let mut depth = 0;
        let mut close = end;
        for (inner, command) in commands.iter().enumerate().take(end).skip(at) {
            match head(&command.words).1 {
                "for" | "while" | "until" | "select" => depth += 1,
                "done" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                close = inner;
                break;
            }
        }
        let next = (close + 1).min(end);
        let Some(name) = words.get(1).filter(|name| is_name(name)).cloned() else {
            // `for ((…))`
            self.block(at + 1, close);
            return next;
        };
        let values = match words.get(2).map(String::as_str) {
            Some("in") => self.words().list(words[3..].iter().map(String::as_str), self.glob),
            _ => self.arguments.clone().unwrap_or_default(),
        };
        let (known, open): (Vec<String>, Vec<String>) = values.into_iter().partition(|value| !value.contains(['$', '`', '*']));
        for value in known.iter().take(MOST_VALUES) {
            self.set(&name, Value::Text(value.clone()));
            self.block(at + 1, close);
        }
        if known.is_empty() || !open.is_empty() {
            self.set(&name, Value::Unknown);
            self.block(at + 1, close);
        }
        next
    }
}

fn words_end_in_brace(words: &[String]) -> bool {
    words.len() == 1 && words[0] == "{"
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The name that a word assigns to: `X=…`, `X+=…`.
fn assigned_name(word: &str) -> Option<&str> {
    let (name, _) = word.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    is_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{super::commands_in_script, *};

    fn builds(text: &str) -> Vec<String> {
        let glob = |pattern: &str| match pattern {
            "services/*/" => vec!["services/a/".to_owned(), "services/b/".to_owned()],
            _ => Vec::new(),
        };
        unroll(&commands_in_script(text, 1), &[], &glob)
            .into_iter()
            .map(|build| {
                let words = build.words.iter().skip_while(|word| *word != "build").skip(1).cloned().collect::<Vec<_>>().join(" ");
                build.dir.map_or(words.clone(), |dir| format!("[{dir}] {words}"))
            })
            .collect()
    }

    #[test]
    fn loops_over_words_arrays_and_globs() {
        for (text, expected) in [
            (
                "for s in auth user; do\n  docker build -f services/$s/Dockerfile .\ndone\n",
                vec!["-f services/auth/Dockerfile .", "-f services/user/Dockerfile ."],
            ),
            ("S=(auth # first\n  \"user\"\n)\nfor s in \"${S[@]}\"; do docker build ${s}; done", vec!["auth", "user"]),
            ("S=\"auth user\"\nfor s in $S\ndo\ndocker build \"services/$s\"\ndone", vec!["services/auth", "services/user"]),
            (
                "S=(a)\nS+=(b c)\nfor s in ${S[*]}; do for t in x y; do docker build $s/$t; done; done",
                vec!["a/x", "a/y", "b/x", "b/y", "c/x", "c/y"],
            ),
            ("for d in services/*/; do docker build $d; done", vec!["services/a/", "services/b/"]),
            ("for s in {a,b}; do docker build $s; done", vec!["a", "b"]),
            ("for s in a b; do (cd services/$s && docker build .); done", vec!["[services/a] .", "[services/b] ."]),
            ("for s in a b; do cd services/$s; docker build .; cd -; done; docker build x", vec!["[services/a] .", "[services/b] .", "x"]),
            ("for s in $(ls); do docker build $s; done", vec!["$s"]),
            ("while read s; do docker build $s; done < list", vec!["$s"]),
        ] {
            assert_eq!(builds(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_defaults_and_functions() {
        for (text, expected) in [
            ("D=api\ndocker build ${D} -t ${TAG:-latest}", vec!["api -t latest"]),
            ("ARGS=\"--build-arg A=1 --pull\"\ndocker build $ARGS .", vec!["--build-arg A=1 --pull ."]),
            ("A=()\nif [ \"$F\" = 1 ]; then A+=(--no-cache); fi\ndocker build \"${A[@]}\" .", vec!["."]),
            ("docker build ${F:+--no-cache} .", vec!["."]),
            ("b() {\n  local s=$1\n  docker build services/$s\n}\nb auth\nb user\n", vec!["services/auth", "services/user"]),
            ("function b {\n  docker build \"$1\" -t $2\n}\nfor s in a b; do b $s x; done", vec!["a -t x", "b -t x"]),
            ("all() { for s in \"$@\"; do one \"$s\"; done; }\none() { docker build $1; }\nall a b", vec!["a", "b"]),
            ("b() { docker build $1; }\n", vec!["$1"]),
            ("if x; then D=a; else D=b; fi\ndocker build $D", vec!["$D"]),
            ("if x; then\n D=a\n docker build $D\nelse\n D=b\n docker build $D\nfi", vec!["a", "b"]),
            ("case $1 in\n a) docker build a ;;\n *) docker build b ;;\nesac", vec!["a", "b"]),
            ("ROOT=\"$(cd \"$(dirname \"${BASH_SOURCE[0]}\")/..\" && pwd)\"\ndocker build $ROOT/api", vec!["./../api"]),
            ("ROOT=$(git rev-parse --show-toplevel)\ndocker build -f \"$ROOT/api/Dockerfile\" \"$ROOT\"", vec!["-f ./api/Dockerfile ."]),
            ("for s in a-service; do docker build ${s%-service}; done", vec!["a"]),
            ("X=$X$X$X\nfor i in 1 2 3 4; do X=$X$X; docker build $X; done", vec!["$X"]),
        ] {
            assert_eq!(builds(text)[..expected.len().min(builds(text).len())], expected, "{text}");
        }
    }

    #[test]
    fn what_is_exported() {
        let exported = |text: &str| {
            let found = unroll(&commands_in_script(text, 1), &[], &|_| Vec::new());
            found[0].exported.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(exported("H=$(git rev-parse HEAD)\nexport H X=1\nY=2\ndocker build ."), ["H=$(git rev-parse HEAD)", "X=1"]);
        assert_eq!(
            exported("if [ -z \"$H\" ]; then\n  export H=$(git rev-parse HEAD)\nfi\ndocker compose build"),
            ["H=$(git rev-parse HEAD)"]
        );
        assert_eq!(exported("set -a\nA=1\ndocker build ."), ["A=1"]);
        assert_eq!(exported("echo \"SHA=$(git rev-parse HEAD)\" >> \"$GITHUB_ENV\"\ndocker build ."), ["SHA=$(git rev-parse HEAD)"]);
        assert!(exported("A=1\ndocker build .").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_script_panics(text in "((for|if|function|case|done|fi|esac|do|then|else|docker build|f\\(\\)|A=\\(|A\\+=|export|\\$\\{A|\\$A|\\$\\(|[{}()\"';\n =:@*%#/-]|in|x|ü) ?){0,40}") {
            let _ = builds(&text);
            let _ = builds(&format!("{text}\ndocker build $A"));
        }
    }

    #[test]
    fn nothing_grows_without_bounds() {
        let nested = "for a in {1,2,3,4,5,6,7,8,9}; do ".repeat(12) + "docker build $a" + &"; done".repeat(12);
        assert!(builds(&nested).len() <= MOST_BUILDS);
        assert!(builds("f() { f; f; docker build x; }\nf").len() <= MOST_BUILDS);
        let doubling = format!("X=aaaaaaaaaa\n{}docker build $X", "X=$X$X\n".repeat(100));
        assert_eq!(builds(&doubling), ["$X"]);
    }
}
