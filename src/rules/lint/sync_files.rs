//! `sync-blind-spot` for files: scripts that set modification times before a build, and contexts that share the builder's copy.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
    path::Path,
};

use super::{FileFacts, FileRule};
use crate::{
    evidence::{
        build_command::{ClientKind, ScriptCommand},
        build_target::{ContextSource, is_remote, normalize},
        mtimes::{self, Setter, Times},
        repository::{File, FileId, FileKind, Image, NamedBy, Repository},
        yaml::{Node, Value},
    },
    rules::{
        Confidence, Draft, Findings, Severity,
        sync_blind_spot::{META, SyncBlindSpot},
    },
};

/// What to do about times that are set.
const HELP: &str = "do not set times before a build from a directory; pass SOURCE_DATE_EPOCH as a build argument, or pipe the context: tar c . | docker build -";
/// Commands of one file that set times and are looked at: each is held against the commands below it.
const MOST_SETTERS: usize = 200;
/// Commands of one file that move variants and are looked at: each reads a directory.
const MOST_MOVES: usize = 50;
/// Files of a directory that are compared at most, for variants that take the place of one another.
const MOST_VARIANTS: usize = 1_000;

impl FileRule for SyncBlindSpot {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let mut normalised = false;
        for (id, file) in facts.repository.with_ids() {
            if !file.commands.is_empty() {
                normalised |= times_set(facts.repository, id, file, out);
            }
        }
        for (id, file) in facts.repository.with_ids() {
            same_base_name(facts.repository, id, file, normalised, out);
            same_typed_path(facts.repository, id, file, normalised, out);
        }
    }
}

/// Commands that set times, with a build from a directory below them in the same job. True where one sets those of many files.
fn times_set(repository: &Repository, id: FileId, file: &File, out: &mut Findings<'_>) -> bool {
    let builds: Vec<(usize, String)> = local_builds(repository, id, file);
    if builds.is_empty() {
        return false;
    }
    let set: HashMap<String, String> = file.commands.iter().flat_map(ScriptCommand::assignments).collect();
    let value_of = |name: &str| set.get(name).cloned();
    let jobs = jobs(file);
    let unpacked = file.commands.iter().rposition(mtimes::unpacks);
    let mut found: Vec<(usize, usize, Setter)> = Vec::new();
    for (at, command) in file.commands.iter().enumerate() {
        let Some(setter) = mtimes::setter(command, &value_of) else { continue };
        // An archive counts where it is unpacked.
        if matches!(setter.what, "git archive" | "tar --mtime") && unpacked.is_none_or(|last| last <= at) {
            continue;
        }
        if found.len() < MOST_SETTERS {
            found.push((command.line, command.end_line, setter));
        }
    }
    for line in restore_actions(file) {
        found.push((line, line, Setter { what: "git restore-mtime", times: Times::AuthorDate, many: true }));
    }
    let lines = |what: fn(&ScriptCommand) -> bool| -> Vec<usize> {
        let lines = file.commands.iter().filter(|command| what(command)).map(|command| command.line);
        if found.is_empty() { Vec::new() } else { lines.collect() }
    };
    let (renewed, pruned) = (lines(mtimes::renews), lines(drops_the_copy));
    let mut many = false;
    for (line, end_line, setter) in found {
        let job = jobs.iter().find(|job| job.0.contains(&line));
        let in_job = |other: usize| job.is_none_or(|job| job.0.contains(&other));
        let Some((build, text)) = builds.iter().find(|(build, _)| *build >= line && in_job(*build)) else { continue };
        if renewed.iter().any(|other| *other > line && *other <= *build && in_job(*other)) {
            continue;
        }
        many |= setter.many && !matches!(setter.times, Times::Kept | Times::SizeOnly);
        let (severity, why) = weigh(&setter);
        let mut draft = Draft::new(format!("{}: a file that changes but keeps its size may not reach the image", message(&setter)))
            .severity(severity)
            .confidence(if setter.times == Times::Constant && setter.many { Confidence::Likely } else { Confidence::Possible })
            .in_file(file, line, end_line)
            .evidence(why)
            .evidence(format!("line {build} builds from a local directory: {text}"));
        if let Some(prune) = pruned.iter().find(|other| **other <= *build && in_job(**other)) {
            draft =
                draft.severity(Severity::Note).evidence(format!("the prune in line {prune} drops the builder's copy of the context first"));
        } else if job.is_some_and(|job| job.1) {
            draft = draft
                .severity(Severity::Note)
                .evidence("a hosted runner begins without a copy of the context; a builder that is kept has one");
        }
        out.add(&META, draft.help(HELP));
    }
    variants(repository, file, &builds, out);
    many
}

fn message(setter: &Setter) -> String {
    match setter.times {
        Times::Constant => format!("`{}` gives files a fixed modification time", setter.what),
        Times::Unknown => format!("`{}` sets the modification time of files", setter.what),
        Times::OfAnotherFile => format!("`{}` gives a file the modification time of another", setter.what),
        Times::AuthorDate | Times::CommitSecond => format!("`{}` gives files the time of a commit", setter.what),
        Times::Kept => format!("`{}` keeps the modification times of its source", setter.what),
        Times::SizeOnly => format!("`{}` leaves changed files of the same size as they were", setter.what),
    }
}

fn weigh(setter: &Setter) -> (Severity, &'static str) {
    let (severity, why) = match setter.times {
        Times::Constant => (Severity::Warning, "the builder reads a file again only if its size, time or mode differs from its copy"),
        Times::Unknown => {
            (Severity::Warning, "where the time stays the same from build to build, only the size tells the builder of a change")
        }
        Times::OfAnotherFile => (Severity::Warning, "the builder reads a file again only if its size, time or mode differs from its copy"),
        Times::AuthorDate => {
            (Severity::Warning, "by default it takes the author's date, which an amended or rebased commit keeps; --commit-time does not")
        }
        Times::CommitSecond => (Severity::Note, "two commits of the same second (a rebase, a script) give the same times"),
        Times::Kept => {
            (Severity::Note, "harmless where the source has its own times: not where those were set, or several sources take turns")
        }
        Times::SizeOnly => (Severity::Warning, "it does not look at the contents either: the tree that is built is an old one"),
    };
    let named = !setter.many && severity == Severity::Warning && setter.times != Times::OfAnotherFile;
    (if named { Severity::Note } else { severity }, why)
}

/// The commands and actions of a file that build from a local directory with BuildKit: line and text.
fn local_builds(repository: &Repository, id: FileId, file: &File) -> Vec<(usize, String)> {
    let images: Vec<&Image> = repository.images.iter().filter(|image| image.file == id).collect();
    let mut by_line: BTreeMap<usize, Vec<&Image>> = BTreeMap::new();
    for image in images.iter().filter(|image| matches!(image.by, NamedBy::Command(_))) {
        by_line.entry(image.line).or_default().push(image);
    }
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut off = false;
    for command in &file.commands {
        let set = command.assignments().into_iter().rfind(|(name, _)| name == "DOCKER_BUILDKIT");
        let set = set.map(|(_, value)| super::buildkit_disabled::is_false(&value));
        if !command.is_build() {
            off = set.unwrap_or(off);
            continue;
        }
        // In front of a build it holds for that one alone; `docker buildx` does not look at it.
        let buildx = command.words.iter().any(|word| ["buildx", "buildctl"].iter().any(|name| word.rsplit('/').next() == Some(*name)));
        if set.unwrap_or(off) && !buildx {
            continue;
        }
        let legacy = |image: &&&Image| image.by == NamedBy::Command(ClientKind::Legacy);
        let local = match by_line.get(&command.line) {
            // A variable leaves open what is built.
            None => !command.words.iter().skip(1).any(|word| word == "-" || is_remote(word)),
            Some(resolved) => resolved.iter().any(|image| image.target.context.local_dir().is_some() && !legacy(&image)),
        };
        if local {
            found.push((command.line, command.words.join(" ").chars().take(80).collect()));
        }
    }
    for image in images.iter().filter(|image| image.by == NamedBy::Action && image.target.context.local_dir().is_some()) {
        // Without `context` the action builds the commit by its URL.
        if (image.line..=image.end_line).any(|line| file.line(line).trim_start().starts_with("context:")) {
            found.push((image.line, "docker/build-push-action".to_owned()));
        }
    }
    found.sort();
    found
}

/// `docker builder prune -f` and `docker system prune` without a filter: they drop the copy of the context too.
fn drops_the_copy(command: &ScriptCommand) -> bool {
    let Some(("docker", args)) = command.program() else { return false };
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let prune = matches!(words.as_slice(), ["builder" | "buildx" | "system", "prune", ..]);
    prune && !words.iter().any(|word| word.starts_with("--filter") || word.starts_with("--keep-storage"))
}

/// The jobs of a CI file: their lines, and whether they run on a hosted runner. Empty for other files: all is one.
fn jobs(file: &File) -> Vec<(RangeInclusive<usize>, bool)> {
    let last = file.text.lines().count().max(1);
    let entries = file.yaml.iter().flat_map(|document| {
        let jobs = if file.kind == FileKind::GitHub { document.get("jobs") } else { Some(document) };
        match jobs.map(|jobs| &jobs.value) {
            Some(Value::Map(entries)) => entries.as_slice(),
            _ => &[],
        }
    });
    let starts: Vec<(usize, bool)> = entries.map(|entry| (entry.line, file.kind == FileKind::GitHub && hosted(&entry.node))).collect();
    let ends = starts.iter().skip(1).map(|(line, _)| line.saturating_sub(1)).chain([last]);
    starts.iter().zip(ends).map(|((line, hosted), end)| (*line..=end, *hosted)).collect()
}

/// Whether a job of GitHub runs on a machine that is new for every job.
fn hosted(job: &Node) -> bool {
    let label = job.get("runs-on").and_then(Node::as_text).unwrap_or_default();
    ["ubuntu-", "windows-", "macos-"].iter().any(|start| label.starts_with(start))
}

/// Steps that use an action which restores modification times from git.
fn restore_actions(file: &File) -> Vec<usize> {
    if file.kind != FileKind::GitHub || !file.text.contains("restore-mtime") {
        return Vec::new();
    }
    let uses = |line: &str| {
        line.trim_start().trim_start_matches("- ").strip_prefix("uses:").is_some_and(|what| what.contains("git-restore-mtime"))
    };
    file.text.lines().enumerate().filter(|(_, line)| uses(line)).map(|(at, _)| at + 1).collect()
}

/// `mv` and `cp -p` of one of several files of the same size over a file that is built: git writes files of one checkout within one tick
/// of the clock, with one and the same time, which both keep.
fn variants(repository: &Repository, file: &File, builds: &[(usize, String)], out: &mut Findings<'_>) {
    let mut looked_at = 0;
    for command in &file.commands {
        let Some((program @ ("mv" | "cp"), args)) = command.program() else { continue };
        let keeps = |word: &String| {
            word == "--archive"
                || word.starts_with("--preserve")
                || word.starts_with('-') && !word.starts_with("--") && word.contains(['a', 'p'])
        };
        if program == "cp" && !args.iter().any(keeps) || !builds.iter().any(|(line, _)| *line >= command.line) {
            continue;
        }
        let [source, _] = args.iter().filter(|word| !word.starts_with('-')).collect::<Vec<_>>()[..] else { continue };
        // `config.$ENV.py` is one of `config.*.py`.
        let (dir, name) = source.rsplit_once('/').unwrap_or((".", source));
        let Some((before, rest)) = name.split_once('$') else { continue };
        let after = rest.find(['.', '-']).map_or("", |at| &rest[at..]);
        if dir.contains('$') || before.len() + after.len() < 3 || after.contains('$') {
            continue;
        }
        looked_at += 1;
        if looked_at > MOST_MOVES {
            return;
        }
        let Some(pair) = of_same_size(repository, file, command, dir, before, after) else { continue };
        let message = format!("`{program}` keeps the time of {source}: the builder may not see that another variant takes its place");
        let draft = Draft::new(message)
            .severity(Severity::Note)
            .confidence(Confidence::Possible)
            .in_file(file, command.line, command.end_line)
            .evidence(format!("{} and {} have the same size; one checkout can give them the same time", pair.0, pair.1));
        out.add(&META, draft.help("use cp without -p, or touch the file afterwards"));
    }
}

fn of_same_size(
    repository: &Repository,
    file: &File,
    command: &ScriptCommand,
    dir: &str,
    before: &str,
    after: &str,
) -> Option<(String, String)> {
    let own = file.absolute.parent().unwrap_or(&repository.root);
    for start in [repository.root.as_path(), own] {
        let start = command.dir.as_ref().map_or_else(|| start.to_owned(), |cd| start.join(cd));
        let dir = normalize(&start.join(dir));
        if !dir.starts_with(&repository.root) {
            continue;
        }
        let mut by_size: BTreeMap<u64, String> = BTreeMap::new();
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        let mut names: Vec<(String, u64)> = entries
            .flatten()
            .take(MOST_VARIANTS)
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let fits = name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after);
                let metadata = entry.metadata().ok().filter(|metadata| fits && metadata.is_file())?;
                Some((name, metadata.len()))
            })
            .collect();
        names.sort();
        for (name, size) in names {
            if let Some(first) = by_size.get(&size) {
                return Some((first.clone(), name));
            }
            by_size.insert(size, name);
        }
    }
    None
}

/// Contexts of one compose or bake file that have the same base name: buildx keys the builder's copy by it.
fn same_base_name(repository: &Repository, id: FileId, file: &File, normalised: bool, out: &mut Findings<'_>) {
    if !matches!(file.kind, FileKind::Compose | FileKind::Bake) {
        return;
    }
    let mut by_name: BTreeMap<&str, Vec<(&Path, usize, &str)>> = BTreeMap::new();
    for image in
        repository.images.iter().filter(|image| image.file == id && matches!(image.by, NamedBy::Compose | NamedBy::Bake) && image.known)
    {
        let Some(dir) = image.target.context.local_dir() else { continue };
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
        let known = by_name.entry(name).or_default();
        if known.iter().all(|(other, ..)| *other != dir) {
            known.push((dir, image.line, image.target.name.as_deref().unwrap_or("an image")));
        }
    }
    for (name, contexts) in by_name.into_iter().filter(|(_, contexts)| contexts.len() > 1) {
        let shown = |dir: &Path| dir.strip_prefix(&repository.root).unwrap_or(dir).display().to_string();
        let (_, line, service) = contexts[1];
        let mut draft =
            Draft::new(format!("the contexts of {} and {service} are both called {name}: they share the builder's copy", contexts[0].2))
                .severity(if normalised { Severity::Warning } else { Severity::Note })
                .confidence(Confidence::Possible)
                .in_file(file, line, line)
                .evidence(contexts.iter().take(5).map(|(dir, ..)| shown(dir)).collect::<Vec<_>>().join(", "));
        draft = draft.evidence(if normalised {
            "scripts here set modification times: files of the same path and size are then taken from the wrong service, now and then"
        } else {
            "harmless as long as files keep their own modification times; two builds at once then send more than they need"
        });
        out.add(&META, draft.help("give the directories different names, or use one context above both and copy from its subdirectories"));
    }
}

/// Builds of one script with the same context as typed in several directories: docker 20.10 keys the builder's copy by what is typed.
fn same_typed_path(repository: &Repository, id: FileId, file: &File, normalised: bool, out: &mut Findings<'_>) {
    if file.commands.is_empty() {
        return;
    }
    // Only docker 20.10 needs the variable; newer ones use BuildKit by themselves, and buildx's key.
    let old =
        file.variables().into_iter().find(|variable| variable.name == "DOCKER_BUILDKIT" && matches!(variable.value.as_str(), "1" | "true"));
    let Some(old) = old else { return };
    let mut by_typed: BTreeMap<&str, (BTreeSet<&Path>, Vec<usize>)> = BTreeMap::new();
    for image in
        repository.images.iter().filter(|image| image.file == id && image.by == NamedBy::Command(ClientKind::Docker) && image.known)
    {
        if let ContextSource::Dir { typed, path } = &image.target.context {
            let (paths, lines) = by_typed.entry(typed).or_default();
            if paths.insert(path) {
                lines.push(image.line);
            }
        }
    }
    for (typed, (paths, lines)) in by_typed.into_iter().filter(|(_, (paths, _))| paths.len() > 1) {
        let line = lines[1];
        let places = lines.iter().take(5).map(|line| format!("line {line}")).collect::<Vec<_>>().join(", ");
        let draft = Draft::new(format!("`docker build {typed}` in {} directories: docker 20.10 keeps one copy of the context for all", paths.len()))
            .severity(if normalised { Severity::Warning } else { Severity::Note })
            .confidence(Confidence::Possible)
            .in_file(file, line, line)
            .evidence(format!("{places}; DOCKER_BUILDKIT=1 in line {} says that the docker is an old one", old.line))
            .evidence("it tells copies apart by the path as typed: files of the same path, size and time come from the other directory, the Dockerfile too");
        out.add(&META, draft.help("spell the path out (docker build ./api), or use docker 23 or newer"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn script(text: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", "FROM x\n"), ("deploy.sh", text)]).found("sync-blind-spot")
    }

    #[test]
    fn times_that_are_set_before_a_build() {
        for (text, start) in [
            ("git ls-files | xargs touch -d @0\ndocker build .\n", "deploy.sh:1: warning: `touch -d` gives files a fixed"),
            ("git restore-mtime\ndocker compose build\n", "deploy.sh:1: warning: `git restore-mtime` gives files the time of a commit"),
            ("git archive HEAD | tar x -C out\ndocker build \"$OUT\"\n", "deploy.sh:1: note: `git archive`"),
            ("rsync -a src/ ctx/\ndocker build ctx\n", "deploy.sh:1: note: `rsync --times` keeps"),
            ("rsync -r --size-only src/ ctx/\ndocker build ctx\n", "deploy.sh:1: warning: `rsync --size-only` leaves changed files"),
            ("tar --mtime=@0 -cf x.tar .\ntar xf x.tar -C ctx\ndocker build ctx\n", "deploy.sh:1: warning: `tar --mtime`"),
            ("export DOCKER_BUILDKIT=0\ngit restore-mtime\ndocker buildx build .\n", "deploy.sh:2: warning: `git restore-mtime`"),
            ("docker builder prune -f\nfind . | xargs touch -d @0\ndocker build .\n", "deploy.sh:2: note: `touch -d`"),
        ] {
            let found = script(text);
            assert!(found.len() == 1 && found[0].starts_with(start), "{text}: {found:?}");
        }
    }

    #[test]
    fn harmless_orders_and_builds() {
        for text in [
            "docker build .\ngit ls-files | xargs touch -d @0\n",
            "git ls-files | xargs touch -d @0\ntar c . | docker build -\n",
            "git ls-files | xargs touch -d @0\nDOCKER_BUILDKIT=0 docker build .\n",
            "export DOCKER_BUILDKIT=0\ngit ls-files | xargs touch -d @0\ndocker compose build\n",
            "git ls-files | xargs touch -d @0\ndocker build https://example.org/x.git\n",
            "git ls-files | xargs touch -d @0\nfind . -exec touch {} +\ndocker build .\n",
            "git archive HEAD | docker build -\n",
            "git archive -o x.tar HEAD\ndocker build .\n",
            "touch src/a\ndocker build .\n",
            "git ls-files | xargs touch -d @0\nmake\n",
        ] {
            assert!(script(text).is_empty(), "{text}: {:?}", script(text));
        }
    }

    #[test]
    fn jobs_are_machines_of_their_own() {
        let workflow = |runner: &str| {
            format!(
                "jobs:\n  a:\n    runs-on: {runner}\n    steps:\n      - uses: chetan/git-restore-mtime-action@v2\n      - run: docker build .\n  b:\n    runs-on: {runner}\n    steps:\n      - run: git ls-files | xargs touch -d @0\n"
            )
        };
        let found =
            |runner| Tree::new(&[("Dockerfile", "FROM x\n"), (".github/workflows/ci.yml", &workflow(runner))]).found("sync-blind-spot");
        let kept = found("self-hosted");
        assert!(kept.len() == 1 && kept[0].starts_with(".github/workflows/ci.yml:5: warning: `git restore-mtime`"), "{kept:?}");
        assert!(found("ubuntu-24.04")[0].starts_with(".github/workflows/ci.yml:5: note: "));
    }

    const TWO: &str = "services:\n  api:\n    build: ./api/src\n  web:\n    build: ./web/src\n  web2:\n    build: ./web/src\n";

    #[test]
    fn contexts_of_one_name() {
        let files = [("compose.yaml", TWO), ("api/src/Dockerfile", "FROM x\n"), ("web/src/Dockerfile", "FROM x\n")];
        let expected = "the contexts of api and web are both called src: they share the builder's copy";
        assert_eq!(Tree::new(&files).found("sync-blind-spot"), [format!("compose.yaml:4: note: {expected}")]);
        let setter = [files.as_slice(), &[("ci.sh", "git ls-files | xargs touch -d @0\ndocker compose build\n")]].concat();
        assert_eq!(Tree::new(&setter).found("sync-blind-spot")[1], format!("compose.yaml:4: warning: {expected}"));
        let other = TWO.replace("./web/src", "./web/code");
        assert!(Tree::new(&[("compose.yaml", &other), files[1], ("web/code/Dockerfile", "FROM x\n")]).found("sync-blind-spot").is_empty());
        let bake = "target \"a\" {\n  context = \"a/src\"\n}\ntarget \"b\" {\n  context = \"b/src\"\n}\n";
        assert_eq!(Tree::new(&[("docker-bake.hcl", bake)]).places("sync-blind-spot"), ["docker-bake.hcl:4"]);
    }

    #[test]
    fn one_typed_path_on_an_old_docker() {
        let text = "export DOCKER_BUILDKIT=1\n(cd api && docker build .)\n(cd web && docker build .)\n";
        let tree = |text: &str| {
            Tree::new(&[("api/Dockerfile", "FROM x\n"), ("web/Dockerfile", "FROM x\n"), ("build.sh", text)]).found("sync-blind-spot")
        };
        let found = tree(text);
        assert!(found.len() == 1 && found[0].starts_with("build.sh:3: note: `docker build .` in 2 directories"), "{found:?}");
        assert!(tree(&text.replace("export DOCKER_BUILDKIT=1", "set -e")).is_empty());
        assert!(tree("export DOCKER_BUILDKIT=1\ndocker build ./api\ndocker build ./web\n").is_empty());
    }

    #[test]
    fn variants_of_one_size() {
        let files = |b: &'static str| {
            [
                ("Dockerfile", "FROM x\n"),
                ("conf/app.prod.py", "A = 1\n"),
                ("conf/app.test.py", b),
                ("b.sh", "mv conf/app.$ENV.py conf/app.py\ndocker build .\n"),
            ]
        };
        let found = Tree::new(&files("A = 2\n")).found("sync-blind-spot");
        assert!(found.len() == 1 && found[0].starts_with("b.sh:1: note: `mv` keeps the time"), "{found:?}");
        assert!(Tree::new(&files("A = 22\n")).found("sync-blind-spot").is_empty());
    }
}
