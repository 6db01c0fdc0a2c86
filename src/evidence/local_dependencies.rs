//! Dependencies that a project takes from a directory beside it: `-e ../shared-libs`, `file:../x`, `path = "../x"`, `replace … => ../x`.

use std::sync::LazyLock;

use regex::Regex;

/// A dependency that is a directory or file of the disk, relative to the file that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDependency {
    /// The path as written, without scheme and extras: `../shared-libs`.
    pub path: String,
    /// The line that names it, from 1.
    pub line: usize,
}

/// Finds those of a manifest, by its file name; only paths that lead out of the manifest's directory (`..`).
pub fn local_dependencies(name: &str, text: &str) -> Vec<LocalDependency> {
    let mut found = match name.to_ascii_lowercase().as_str() {
        "package.json" => quoted(text, &NPM),
        "pyproject.toml" => [quoted(text, &TOML_PATH), quoted(text, &PEP_508)].concat(),
        "cargo.toml" => quoted(text, &TOML_PATH),
        "go.mod" => go_mod(text),
        name if name.ends_with(".txt") => requirements(text),
        _ => Vec::new(),
    };
    found.retain(|dependency| dependency.path == ".." || dependency.path.starts_with("../") || dependency.path.contains("/../"));
    found.sort_by_key(|dependency| dependency.line);
    found
}

/// `"x": "file:../x"`, npm's `link:`, yarn's `portal:`, pnpm's `workspace:../x`.
static NPM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#":\s*"(?:file|link|portal|workspace):([^"]+)""#).ok());
/// `x = { path = "../x" }` of Cargo, poetry and uv.
static TOML_PATH: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"\bpath\s*=\s*["']([^"']+)["']"#).ok());
/// `"x @ file:../x"` and hatch's `{root:uri}/../x`.
static PEP_508: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"@\s*(?:file:(?://)?|\{root:uri\}/)(\.\.[^"'\s;]*)"#).ok());

fn quoted(text: &str, regex: &LazyLock<Option<Regex>>) -> Vec<LocalDependency> {
    let Some(regex) = regex.as_ref() else { return Vec::new() };
    let path = |line: &str| regex.captures(line).and_then(|found| Some(found.get(1)?.as_str().to_owned()));
    let comment = |line: &str| line.trim_start().starts_with(['#', '/']);
    let lines = text.lines().enumerate().filter(|(_, line)| !comment(line));
    lines.filter_map(|(at, line)| Some(LocalDependency { path: path(line)?, line: at + 1 })).collect()
}

/// `replace example.org/x => ../x`, alone or in a block.
fn go_mod(text: &str) -> Vec<LocalDependency> {
    let target = |line: &str| {
        let line = line.split("//").next().unwrap_or_default();
        Some(line.split_once("=>")?.1.split_whitespace().next()?.to_owned())
    };
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| Some(LocalDependency { path: target(line)?, line: at + 1 })).collect()
}

/// pip's requirement files: `-e ../x`, `../x`, `x @ file:../x`, `-r ../base.txt`, `-c ../constraints.txt`, `--find-links ../wheels`.
fn requirements(text: &str) -> Vec<LocalDependency> {
    const FLAGS: [&str; 9] = ["-e", "--editable", "-r", "--requirement", "-c", "--constraint", "-f", "--find-links", "--requirements"];
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.starts_with('#') {
            continue;
        }
        let mut rest = line;
        if let Some(flag) = FLAGS.iter().filter(|flag| line.starts_with(**flag)).max_by_key(|flag| flag.len()) {
            rest = line[flag.len()..].trim_start_matches(['=', ' ', '\t']);
        } else if let Some((_, url)) = line.split_once(" @ ") {
            rest = url.trim();
        } else if line.starts_with('-') {
            continue;
        }
        let rest = rest.strip_prefix("file:").map_or(rest, |rest| rest.strip_prefix("//").unwrap_or(rest));
        // Extras, markers and an egg's name are no part of the path.
        let path = rest.split([' ', ';', '#', '[']).next().unwrap_or_default().trim_matches(['"', '\'']);
        if path.starts_with('.') {
            found.push(LocalDependency { path: path.trim_end_matches('/').to_owned(), line: at + 1 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind() {
        for (name, text, path) in [
            ("requirements.txt", "-e ../shared-libs\n", "../shared-libs"),
            ("requirements-dev.txt", "--editable=../shared-libs/[extra] # ours\n", "../shared-libs"),
            ("requirements.txt", "../../libs/x ; python_version > '3'\r\n", "../../libs/x"),
            ("requirements.txt", "shared @ file:../shared\n", "../shared"),
            ("requirements.txt", "-r ../requirements.txt", "../requirements.txt"),
            ("package.json", "{\n  \"dependencies\": { \"ui\": \"file:../ui\" }\n}", "../ui"),
            ("package.json", "{ \"devDependencies\": { \"ui\": \"link:../../ui\" } }", "../../ui"),
            ("pyproject.toml", "[tool.poetry.dependencies]\nshared = { path = \"../shared\", develop = true }\n", "../shared"),
            ("pyproject.toml", "dependencies = [\"shared @ {root:uri}/../shared\"]\n", "../shared"),
            ("Cargo.toml", "[dependencies]\nshared = { path = '../shared' }\n", "../shared"),
            ("go.mod", "replace example.org/shared => ../shared\n", "../shared"),
            ("go.mod", "replace (\n\texample.org/shared v1.0.0 => ../shared // ours\n)\n", "../shared"),
        ] {
            let found: Vec<String> = local_dependencies(name, text).into_iter().map(|dependency| dependency.path).collect();
            assert_eq!(found, [path], "{name}: {text}");
        }
        assert_eq!(local_dependencies("requirements.txt", "a\n\n-e ../x\n")[0].line, 3);
    }

    #[test]
    fn what_stays_inside_or_is_elsewhere() {
        for (name, text) in [
            ("requirements.txt", "# -e ../x\nrequests==2.0\n-e .\n-e ./libs/x\n-e git+https://example.org/x.git#egg=x\n--hash=sha256:..\n"),
            ("package.json", "{ \"a\": \"workspace:*\", \"b\": \"file:./b\", \"c\": \"^1.0.0\", \"main\": \"../x\" }"),
            ("Cargo.toml", "# x = { path = \"../x\" }\n[[bin]]\npath = \"src/main.rs\"\n"),
            ("go.mod", "replace a => b v1.0.0\nrequire c v1.0.0\n"),
            ("README.md", "-e ../x"),
        ] {
            assert!(local_dependencies(name, text).is_empty(), "{name}: {text}");
        }
    }
}
