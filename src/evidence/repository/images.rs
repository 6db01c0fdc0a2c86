//! What is built: by compose services, bake targets, commands of scripts, and actions of workflows.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use super::{
    super::{
        bake::{self, BakeError, BakeOptions},
        build_command::{self, BuildCommand, CommandError, ScriptCommand, UnrolledBuild, is_variable, unroll},
        build_target::{BuildTarget, ContextSource, Env, TypedEntry, normalize},
        compose::{self, ComposeError, ComposeOptions, ComposeProject},
        glob::SourcePattern,
        interpolate::InterpolateError,
        yaml::{Node, Value},
    },
    File, FileKind, Image, NamedBy, Problem, Repository, ci,
    matrix::{self, Matrix},
    read,
    walk::shown,
};

/// Commands of scripts that are resolved; each may read compose or bake files.
const MOST_COMMANDS: usize = 2_000;
/// Variables without which compose refuses to go on (`${X:?…}`) and for which a stand-in is given.
const MOST_REQUIRED: usize = 50;

/// An image, its files still by their paths.
struct Planned {
    by: NamedBy,
    file: PathBuf,
    line: usize,
    end_line: usize,
    target: BuildTarget,
    open: bool,
}

/// Finds the images, and adds the Dockerfiles that they name and the walk did not know by their names.
pub(super) fn find(repository: &mut Repository, cwd: &Path, whole_tree: bool) {
    let mut planned = Vec::new();
    let mut problems = Vec::new();
    composed(repository, cwd, &mut planned, &mut problems);
    baked(repository, cwd, &mut planned, &mut problems);
    commanded(repository, cwd, &mut planned, &mut problems);
    for file in &repository.files {
        if file.kind == FileKind::GitHub {
            let matrices = matrix::of(file);
            file.yaml.iter().for_each(|document| actions(document, file, &matrices, &repository.root, &mut planned));
        }
    }
    repository.problems.append(&mut problems);
    if whole_tree {
        let named: BTreeSet<PathBuf> = planned.iter().filter_map(|image| image.target.dockerfile_path.clone()).collect();
        read::add(repository, named.into_iter().collect(), cwd);
    }
    for image in &planned {
        if let (Some(text), Some((path, key, line))) = (&image.target.dockerfile_inline, inline_key(image)) {
            read::add_inline(repository, &path, &key, line, text, cwd);
        }
    }
    let mut seen: HashSet<(PathBuf, usize, String, String)> = HashSet::new();
    for image in planned {
        // A service of two projects is one image, unless they build it otherwise.
        let key = (image.file.clone(), image.line, format!("{:?}", image.by), format!("{:?}", image.target));
        let Some(file) = repository.at(&image.file).filter(|_| seen.insert(key)) else { continue };
        let inline = image.target.dockerfile_inline.as_ref().and_then(|_| inline_key(&image)).map(|(_, key, _)| key);
        let target = image.target;
        let open = |text: &str| text.contains(['$', '`']);
        let typed = match &target.context {
            ContextSource::Dir { typed, .. } => open(typed),
            _ => false,
        };
        let known = !typed && !target.dockerfile.as_deref().is_some_and(open);
        let dockerfile = inline.as_deref().or(target.dockerfile_path.as_deref()).filter(|_| known).and_then(|path| repository.at(path));
        repository.images.push(Image {
            by: image.by,
            file,
            line: image.line,
            end_line: image.end_line,
            target,
            dockerfile,
            known,
            open: image.open,
        });
    }
}

/// Where a Dockerfile that stands in a compose or bake file is: that file, the name that it goes by, and the line to look from.
fn inline_key(image: &Planned) -> Option<(PathBuf, PathBuf, usize)> {
    let place = image.target.place.as_ref()?;
    let mut key = place.file.clone().into_os_string();
    key.push(format!("#{}", image.target.name.as_deref().unwrap_or_default()));
    Some((place.file.clone(), key.into(), place.line))
}

fn of_kind(repository: &Repository, kind: FileKind) -> BTreeMap<&Path, Vec<&File>> {
    let mut by_directory: BTreeMap<&Path, Vec<&File>> = BTreeMap::new();
    for file in repository.files.iter().filter(|file| file.kind == kind) {
        by_directory.entry(file.absolute.parent().unwrap_or(&repository.root)).or_default().push(file);
    }
    by_directory
}

fn named<'f>(files: &[&'f File], name: &str) -> Option<&'f File> {
    files.iter().find(|file| file.absolute.file_name().is_some_and(|known| known == name)).copied()
}

/// The services of compose files: each directory's default file with its override, as compose reads them, and every other file by
/// itself, or over the default one where it says too little alone.
fn composed(repository: &Repository, cwd: &Path, planned: &mut Vec<Planned>, problems: &mut Vec<Problem>) {
    for (dir, files) in of_kind(repository, FileKind::Compose) {
        let base = compose::DEFAULT_FILES.iter().find_map(|name| named(&files, name));
        let over = base.and_then(|_| compose::DEFAULT_OVERRIDES.iter().find_map(|name| named(&files, name)));
        if let Some(base) = base {
            let together: Vec<&File> = std::iter::once(base).chain(over).collect();
            match project(dir, &together) {
                Ok(project) => services(&project, planned),
                Err(error) => problems.push(problem(base, &error.to_string(), cwd)),
            }
        }
        let same = |a: &File, b: Option<&File>| b.is_some_and(|b| b.absolute == a.absolute);
        for file in files.iter().copied().filter(|file| !same(file, base) && !same(file, over)) {
            let alone = project(dir, &[file]);
            let read = match (alone, base) {
                (Err(error), Some(base)) => project(dir, &[base, file]).map_err(|_| error),
                (alone, _) => alone,
            };
            match read {
                Ok(project) => services(&project, planned),
                // One that only adds to another file, which nothing here names.
                Err(ComposeError::NeitherImageNorBuild { .. }) => {}
                Err(error) => problems.push(problem(file, &error.to_string(), cwd)),
            }
        }
    }
}

/// Reads compose files; a variable that they demand stands for itself.
fn project(dir: &Path, files: &[&File]) -> Result<ComposeProject, ComposeError> {
    let options = ComposeOptions { files: files.iter().map(|file| file.absolute.clone()).collect(), ..ComposeOptions::default() };
    demanding(|env| compose::load(dir, &options, env), demanded)
}

/// Reads something again with a stand-in, `${NAME}`, for each variable without which it cannot be read.
fn demanding<T, E>(read: impl Fn(&Env<'_>) -> Result<T, E>, demanded: impl Fn(&E) -> Option<String>) -> Result<T, E> {
    let mut given: Vec<String> = Vec::new();
    loop {
        let result = read(&|name| given.iter().find(|known| *known == name).map(|name| format!("${{{name}}}")));
        match result.as_ref().err().and_then(&demanded) {
            Some(name) if given.len() < MOST_REQUIRED && !given.contains(&name) => given.push(name),
            _ => return result,
        }
    }
}

/// The variable that compose files cannot do without (`${NAME:?…}`).
fn demanded(error: &ComposeError) -> Option<String> {
    match error {
        ComposeError::Interpolate { error: InterpolateError::Required { name, .. }, .. } => Some(name.clone()),
        _ => None,
    }
}

fn services(project: &ComposeProject, planned: &mut Vec<Planned>) {
    for service in &project.services {
        if let Some(target) = &service.build {
            let place = target.place.as_ref().unwrap_or(&service.place);
            let (file, line) = (place.file.clone(), place.line);
            planned.push(Planned { by: NamedBy::Compose, file, line, end_line: line, target: target.clone(), open: false });
        }
    }
}

/// The targets of bake files: the default ones of a directory together, every other by itself.
fn baked(repository: &Repository, cwd: &Path, planned: &mut Vec<Planned>, problems: &mut Vec<Problem>) {
    for (dir, files) in of_kind(repository, FileKind::Bake) {
        let defaults: Vec<&File> = bake::DEFAULT_FILES.iter().filter_map(|name| named(&files, name)).collect();
        let is_default = |file: &File| defaults.iter().any(|known| known.absolute == file.absolute);
        let mut sets: Vec<Vec<&File>> = files.iter().copied().filter(|file| !is_default(file)).map(|file| vec![file]).collect();
        if !defaults.is_empty() {
            sets.insert(0, defaults.clone());
        }
        for set in sets {
            // Paths start from where bake is called: at the file or at the top of the repository.
            let mut plans = Vec::new();
            for from in [dir, repository.root.as_path()] {
                let over: Vec<&File> = defaults.iter().filter(|_| !is_default(set[0])).copied().chain(set.iter().copied()).collect();
                plans.push(targets(from, &set).or_else(|error| targets(from, &over).map_err(|_| error)));
            }
            let missing = |plan: &Result<Vec<BuildTarget>, BakeError>| match plan {
                Ok(targets) => targets.iter().filter_map(|target| target.dockerfile_path.as_deref()).filter(|path| !path.is_file()).count(),
                Err(_) => usize::MAX,
            };
            match plans.into_iter().min_by_key(missing) {
                Some(Ok(targets)) => {
                    for target in targets {
                        let Some(place) = target.place.clone() else { continue };
                        planned.push(Planned {
                            by: NamedBy::Bake,
                            file: place.file,
                            line: place.line,
                            end_line: place.line,
                            target,
                            open: false,
                        });
                    }
                }
                Some(Err(BakeError::NoTarget { .. })) | None => {}
                Some(Err(error)) => problems.extend(set.first().map(|file| problem(file, &error.to_string(), cwd))),
            }
        }
    }
}

fn targets(from: &Path, files: &[&File]) -> Result<Vec<BuildTarget>, BakeError> {
    let files = files.iter().map(|file| file.absolute.clone()).collect();
    let options = BakeOptions { files, targets: vec!["*".to_owned()], ..BakeOptions::default() };
    bake::load(from, &options, &|_| None).map(|plan| plan.targets)
}

/// The build commands of scripts and CI steps, variables, loops and functions followed.
fn commanded(repository: &Repository, cwd: &Path, planned: &mut Vec<Planned>, problems: &mut Vec<Problem>) {
    let mut count = 0;
    let dockerfiles: Vec<&Path> =
        repository.files.iter().filter(|file| file.kind == FileKind::Dockerfile).map(|file| file.absolute.as_path()).collect();
    for file in &repository.files {
        let given: Vec<(String, String)> = match file.kind {
            FileKind::GitHub | FileKind::GitLab => {
                let mut variables = Vec::new();
                file.yaml.iter().for_each(|document| ci::variables(document, &mut variables));
                variables.into_iter().map(|variable| (variable.name, variable.value)).collect()
            }
            _ => Vec::new(),
        };
        let starts = starts(repository, file);
        let matrices = matrix::of(file);
        let glob = |pattern: &str| directories(&starts, &dockerfiles, pattern);
        for build in unroll(&file.commands, &given, &glob) {
            let command = &file.commands[build.command];
            count += 1;
            if count > MOST_COMMANDS {
                let message = format!("the builds from here on were not looked at: there are more than {MOST_COMMANDS}");
                problems.push(Problem { path: shown(&file.absolute, cwd), line: Some(command.line), message });
                return;
            }
            let mentions = build.words.iter().chain(&build.dir).any(|word| word.contains("matrix."));
            for values in matrix::values(&matrices, command.line, mentions) {
                let words: Vec<String> = build.words.iter().map(|word| matrix::fill(word, &values)).collect();
                let dir = build.dir.as_deref().map(|dir| matrix::fill(dir, &values));
                let build = UnrolledBuild { words, dir, ..build.clone() };
                let open = build.words.iter().any(|word| is_variable(word));
                let Some(read) = resolve(&starts, command, &build) else { continue };
                for target in read.targets {
                    let by = NamedBy::Command(read.client);
                    planned.push(Planned { by, file: file.absolute.clone(), line: command.line, end_line: command.end_line, target, open });
                }
            }
        }
    }
}

/// Where a script may be run: at the top of the repository, in its own directory, or in the one above that.
fn starts<'r>(repository: &'r Repository, file: &'r File) -> Vec<&'r Path> {
    let own = file.absolute.parent().unwrap_or(&repository.root);
    let ci = matches!(file.kind, FileKind::GitHub | FileKind::GitLab);
    let starts = [
        Some(repository.root.as_path()),
        Some(own).filter(|_| !ci),
        own.parent().filter(|above| !ci && above.starts_with(&repository.root)),
    ];
    starts.into_iter().flatten().collect()
}

/// The directories with a Dockerfile, or the Dockerfiles, that a pattern of a loop stands for: `services/*/`, `*/Dockerfile`.
fn directories(starts: &[&Path], dockerfiles: &[&Path], pattern: &str) -> Vec<String> {
    let parts: Vec<SourcePattern> = pattern.trim_start_matches("./").trim_end_matches('/').split('/').map(SourcePattern::new).collect();
    let slash = if pattern.ends_with('/') { "/" } else { "" };
    for start in starts {
        let mut found = BTreeSet::new();
        for path in dockerfiles.iter().filter_map(|path| path.strip_prefix(start).ok()) {
            for candidate in [Some(path), path.parent()].into_iter().flatten() {
                let names: Vec<String> = candidate.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
                let fits = names.len() == parts.len() && names.iter().zip(&parts).all(|(name, part)| part.matches(name));
                if fits {
                    found.insert(names.join("/") + slash);
                }
            }
        }
        if !found.is_empty() {
            return found.into_iter().collect();
        }
    }
    Vec::new()
}

/// Reads a command from the directory in which its files are: only what is there tells from where the script is run. Where the followed
/// command leads to no file, the one as written counts, which leaves open what is built.
fn resolve(starts: &[&Path], command: &ScriptCommand, build: &UnrolledBuild) -> Option<BuildCommand> {
    let literal = build.dir.as_deref().filter(|dir| !dir.contains(['$', '`'])).map(Path::new);
    let followed = literal.or(command.dir.as_deref());
    let (best, found) = read_from(starts, followed, &build.words, &build.exported);
    if found || (build.words == command.words && followed == command.dir.as_deref()) {
        return best;
    }
    read_from(starts, command.dir.as_deref(), &command.words, &build.exported).0
}

/// Reads words from the first start where all Dockerfiles are; says whether there is one.
fn read_from(starts: &[&Path], dir: Option<&Path>, words: &[String], exported: &[(String, String)]) -> (Option<BuildCommand>, bool) {
    let by_command = |error: &CommandError| match error {
        CommandError::Compose(error) | CommandError::Bake(BakeError::Compose(error)) => demanded(error),
        _ => None,
    };
    // Variables that may hold options would count as contexts.
    let plain: Vec<String> = words
        .iter()
        .enumerate()
        .filter(|(at, word)| !(is_variable(word) && *at + 1 < words.len() && !words[at - at.min(&1)].starts_with('-')))
        .map(|(_, word)| word.clone())
        .collect();
    let mut best: Option<BuildCommand> = None;
    for start in starts {
        let dir = dir.map_or_else(|| (*start).to_owned(), |dir| normalize(&start.join(dir)));
        let lookup = |name: &str| exported.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let parse = |words: &[String]| {
            demanding(|env| build_command::parse_words(words, &dir, &|name: &str| lookup(name).or_else(|| env(name))), by_command)
        };
        let Ok(read) = parse(words).or_else(|_| parse(&plain)) else { continue };
        if read.targets.iter().all(|target| target.dockerfile_path.as_deref().is_none_or(Path::is_file)) {
            return (Some(read), true);
        }
        best.get_or_insert(read);
    }
    (best, false)
}

/// The steps of a workflow that use `docker/build-push-action` or `docker/bake-action`.
fn actions(node: &Node, file: &File, matrices: &[Matrix], root: &Path, planned: &mut Vec<Planned>) {
    let mut todo = vec![node];
    while let Some(node) = todo.pop() {
        match &node.value {
            Value::Map(entries) => {
                let uses = node.get("uses").and_then(Node::as_text).unwrap_or_default();
                let (builds, bakes) = (uses.starts_with("docker/build-push-action@"), uses.starts_with("docker/bake-action@"));
                let runs = if builds || bakes { matrix::values(matrices, node.line, matrix::is_in(node)) } else { Vec::new() };
                for values in runs {
                    let with = node.get("with").map(|with| matrix::fill_node(with, &values));
                    let targets = if builds { vec![action(with.as_ref(), file, root)] } else { bake_action(with.as_ref(), root) };
                    for target in targets {
                        let (line, end_line) = (node.line, last_line(node));
                        planned.push(Planned { by: NamedBy::Action, file: file.absolute.clone(), line, end_line, target, open: false });
                    }
                }
                todo.extend(entries.iter().rev().map(|entry| &entry.node));
            }
            Value::Seq(items) => todo.extend(items.iter().rev()),
            Value::Scalar(..) | Value::Null => {}
        }
    }
}

fn action(with: Option<&Node>, file: &File, root: &Path) -> BuildTarget {
    let input = |name: &str| with.and_then(|with| with.entry(name));
    let text = |name: &str| input(name).and_then(|entry| entry.node.as_text()).filter(|text| !text.is_empty());
    let place = |line: usize| super::super::build_target::Place { file: file.absolute.clone(), line };
    // The default is the commit by its URL: the same files as in the repository.
    let context = text("context").unwrap_or(".").replace("{{defaultContext}}", ".").replacen(".:", "", 1);
    let mut target = BuildTarget::new(ContextSource::parse(&context, root));
    target.dockerfile = text("file").map(str::to_owned);
    target.resolve_dockerfile(Some(root));
    target.target = text("target").map(str::to_owned);
    target.no_cache = text("no-cache") == Some("true");
    target.pull = text("pull") == Some("true");
    let items = |name: &str| {
        let entry = input(name);
        let line = entry.map_or(1, |entry| entry.node.line);
        // Block scalars begin below their sign.
        let block =
            entry.is_some_and(|entry| entry.line == entry.node.line && entry.node.as_text().is_some_and(|text| text.contains('\n')));
        let first = line + usize::from(block);
        let text = entry.and_then(|entry| entry.node.as_text()).unwrap_or_default();
        text.lines()
            .enumerate()
            .map(move |(at, item)| (first + at, item.trim().to_owned()))
            .filter(|(_, item)| !item.is_empty())
            .collect::<Vec<_>>()
    };
    for (line, item) in items("build-args") {
        if let Some((name, value)) = item.split_once('=') {
            target.set_arg(name, Some(value.to_owned()), Some(place(line)));
        }
    }
    for (line, item) in items("build-contexts") {
        if let Some((name, source)) = item.split_once('=') {
            target.contexts.insert(name.to_owned(), ContextSource::parse(source, root));
        }
        let _ = line;
    }
    for (name, list) in [("cache-from", &mut target.cache_from), ("cache-to", &mut target.cache_to)] {
        for (line, item) in items(name) {
            list.extend(TypedEntry::parse_cache(&item, Some(&place(line))).unwrap_or_default());
        }
    }
    target.tags = items("tags").into_iter().map(|(_, tag)| tag).collect();
    target.place = with.map(|with| place(with.line));
    target
}

/// What `docker/bake-action` builds: it calls `docker buildx bake` with its inputs.
fn bake_action(with: Option<&Node>, root: &Path) -> Vec<BuildTarget> {
    let text = |name: &str| with.and_then(|with| with.get(name)).and_then(Node::as_text).unwrap_or_default();
    let items = |name: &str| {
        let items = text(name).lines().flat_map(|line| line.split(',')).map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut words: Vec<String> = ["docker", "buildx", "bake"].map(str::to_owned).to_vec();
    for file in items("files") {
        words.extend(["--file".to_owned(), file]);
    }
    // A value of `set` may hold commas.
    for set in text("set").lines().map(str::trim).filter(|set| !set.is_empty()) {
        words.extend(["--set".to_owned(), set.to_owned()]);
    }
    for flag in ["no-cache", "pull"] {
        if text(flag) == "true" {
            words.push(format!("--{flag}"));
        }
    }
    words.extend(items("targets"));
    let local = |dir: &&str| !dir.is_empty() && !dir.contains(['$', '{']);
    let dir = [text("workdir"), text("source")].into_iter().find(local).map_or_else(|| root.to_owned(), |dir| normalize(&root.join(dir)));
    build_command::parse_words(&words, &dir, &|_| None).map(|command| command.targets).unwrap_or_default()
}

/// The last line that a node says it is on.
fn last_line(node: &Node) -> usize {
    let mut last = node.line;
    let mut todo = vec![node];
    while let Some(node) = todo.pop() {
        last = last.max(node.line);
        match &node.value {
            Value::Map(entries) => todo.extend(entries.iter().map(|entry| &entry.node)),
            Value::Seq(items) => todo.extend(items),
            Value::Scalar(..) | Value::Null => {}
        }
    }
    last
}

fn problem(file: &File, message: &str, cwd: &Path) -> Problem {
    // The readers name the file in full; the report names it before the message.
    let prefix = format!("{}:", file.absolute.display());
    let (line, message) = match message.strip_prefix(&prefix) {
        Some(rest) => match rest.split_once(": ") {
            Some((line, rest)) if line.parse::<usize>().is_ok() => (line.parse().ok(), rest),
            _ => (None, rest.trim_start()),
        },
        None => (None, message),
    };
    Problem { path: file.path.clone(), line, message: message.replace(&format!("{}/", cwd.display()), "") }
}
