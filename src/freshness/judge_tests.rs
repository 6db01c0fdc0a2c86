//! Builds of small repositories: each test makes the trees, and a log as BuildKit would have written it.

use std::cell::RefCell;
use std::fs;
use std::process::Command;

use super::*;
use crate::build::collect::Collector;
use crate::evidence::build_command;
use crate::evidence::context::content::ContentId;
use crate::evidence::context::transfer::TransferSizes;
use crate::evidence::context::{ignore_rules, list};
use crate::evidence::ignore::IgnoreRules;
use crate::freshness::past::BuiltImage;
use crate::log::Reader;

/// A record in memory.
#[derive(Default)]
struct Memory {
    copies: RefCell<HashMap<String, Copies>>,
    last: RefCell<Option<RunRef>>,
    image: Option<BuiltImage>,
}

impl Memory {
    fn record(&self, report: &Report) {
        let from = RunRef { run: Some("run".into()), commit: report.commit.clone() };
        for sync in &report.syncs {
            let copies = Copies { from: from.clone(), snapshots: sync.copies.clone(), ..Copies::default() };
            self.copies.borrow_mut().insert(sync.key.clone(), copies);
        }
        *self.last.borrow_mut() = Some(from);
    }
}

impl Past for Memory {
    fn copies(&self, key: &str) -> Option<Copies> {
        self.copies.borrow().get(key).cloned()
    }

    fn last_run(&self) -> Option<RunRef> {
        self.last.borrow().clone()
    }

    fn image(&self, name: &str) -> Option<BuiltImage> {
        self.image.clone().filter(|_| name == "base")
    }
}

struct Case {
    dir: tempfile::TempDir,
    past: Memory,
    images: Vec<Image>,
    log: Option<PathBuf>,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Self {
        let case = Self { dir: tempfile::tempdir().unwrap(), past: Memory::default(), images: Vec::new(), log: None };
        case.git(&["init", "-q"]);
        case.write(files);
        case.commit();
        case
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn git(&self, args: &[&str]) -> String {
        let out = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
            .args(args)
            .current_dir(self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// Writes files and gives all of them one time, as scripts do that set times.
    fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            self.set_time(&path, 1_700_000_000);
        }
    }

    fn set_time(&self, path: &Path, seconds: u64) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn touch(&self, path: &str) {
        self.set_time(&self.dir.path().join(path), 1_800_000_000);
    }

    fn commit(&self) -> String {
        // git compares times by the second: a file that is written twice in one, with one size and a set time, looks unchanged to it.
        let _ = fs::remove_file(self.dir.path().join(".git/index"));
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "x", "--allow-empty"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Bytes of the context's transfer: the listing, and the contents of these files.
    fn bytes(&self, context: &str, read: &[&str]) -> u64 {
        let root = self.root().join(context);
        let rules = ignore_rules(&root, Some(&root.join("Dockerfile"))).unwrap().0;
        let entries = list(&root, &rules, None).unwrap();
        let sizes = TransferSizes::of(&entries);
        let all = read.contains(&"*");
        let read = entries.iter().zip(&sizes.contents).filter(|(entry, _)| all || read.contains(&entry.path.as_str()));
        sizes.listing + read.map(|(_, size)| *size).sum::<u64>()
    }

    fn check(&self, command: &str, log: &str, commit: Option<&str>) -> Report {
        let mut builds = Vec::new();
        let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
        reader.feed(log.as_bytes());
        drop(reader.finish());
        let root = self.root();
        let env = |_: &str| None;
        let command = build_command::parse(command, &root, &env).unwrap();
        let input = Input {
            builds: &builds,
            commands: &vec![Some(command); builds.len()],
            sources: &Sources::default(),
            commit,
            since: None,
            builder: None,
            cwd: &root,
            env: &env,
            past: &self.past,
            images: &self.images,
            log: self.log.as_deref(),
        };
        let report = check(&input);
        self.past.record(&report);
        report
    }

    /// Builds `.` with `COPY . .`, `read` being what the builder read again.
    fn build(&self, status: &str, read: &[&str]) -> Report {
        self.check("docker buildx build .", &log(self.bytes("", read), &[("[2/2] COPY . /app", status)]), None)
    }
}

/// A log of one build. Sizes are below 1000 bytes in these tests, and so exact.
fn log(bytes: u64, steps: &[(&str, &str)]) -> String {
    let mut text = format!(
        "#0 building with \"b\" instance using docker-container driver\n\n#1 [internal] load build context\n#1 transferring context: {bytes}B done\n#1 DONE 0.0s\n\n#2 [1/2] FROM docker.io/library/busybox\n#2 CACHED\n\n"
    );
    for (number, (name, status)) in (3..).zip(steps) {
        text += &format!("#{number} {name}\n#{number} {status}\n\n");
    }
    text += "#90 exporting to image\n#90 exporting layers done\n#90 DONE 0.1s\n";
    text
}

const DOCKERFILE: (&str, &str) = ("Dockerfile", "FROM busybox\nCOPY . /app\n");
const IGNORE: (&str, &str) = (".dockerignore", ".git\n");

fn verdicts(report: &Report) -> Vec<(u32, Verdict)> {
    report.steps.iter().map(|step| (step.index, step.verdict)).collect()
}

#[test]
fn a_change_under_an_unchanged_listing_is_stale_cached_or_not_until_touched() {
    let case = Case::new(&[DOCKERFILE, IGNORE, ("a", "old"), ("b", "b")]);
    assert_eq!(verdicts(&case.build("DONE 0.1s", &["*"])), [(3, Verdict::Fresh)]);
    case.write(&[("a", "new")]);
    case.commit();
    let stale = case.build("CACHED", &[]);
    assert_eq!(verdicts(&stale), [(3, Verdict::Stale)]);
    assert_eq!(stale.steps[0].changed_files, ["a"]);
    assert_eq!(stale.findings[0].rule, "stale-copy");
    assert_eq!(stale.findings[0].confidence, Confidence::Certain);
    // Without a cache the builder takes its old copy all the same.
    assert_eq!(verdicts(&case.build("DONE 0.1s", &[])), [(3, Verdict::Stale)]);
    case.touch("a");
    assert_eq!(verdicts(&case.build("DONE 0.1s", &["a"])), [(3, Verdict::Fresh)]);
}

#[test]
fn a_pruned_builder_reads_everything() {
    let case = Case::new(&[DOCKERFILE, IGNORE, ("a", "old")]);
    case.build("DONE 0.1s", &["*"]);
    case.write(&[("a", "new")]);
    case.commit();
    assert_eq!(verdicts(&case.build("DONE 0.1s", &["*"])), [(3, Verdict::Fresh)]);
    assert_eq!(verdicts(&case.build("CACHED", &[])), [(3, Verdict::Fresh)]);
}

#[test]
fn a_revert_is_cached_by_right() {
    let case = Case::new(&[DOCKERFILE, IGNORE, ("a", "one")]);
    case.build("DONE 0.1s", &["*"]);
    case.write(&[("a", "other")]);
    case.commit();
    case.build("DONE 0.1s", &["a"]);
    case.write(&[("a", "one")]);
    case.commit();
    let report = case.build("CACHED", &["a"]);
    assert_eq!(verdicts(&report), [(3, Verdict::Fresh)]);
    assert_eq!(report.steps[0].changed_files, ["a"]);
}

#[test]
fn without_a_record_git_and_the_bytes_decide() {
    let case = Case::new(&[DOCKERFILE, IGNORE, ("a", "one")]);
    assert_eq!(verdicts(&case.build("CACHED", &[])), [(3, Verdict::Unknown)]);
    let first = case.git(&["rev-parse", "HEAD"]);
    case.write(&[("a", "two")]);
    case.commit();
    for (read, status, expected) in [
        (&[][..], "CACHED", Verdict::Suspect),
        (&["a"], "CACHED", Verdict::Fresh),
        (&["*"], "CACHED", Verdict::Fresh),
        (&[], "DONE 0.1s", Verdict::Suspect),
    ] {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = Some(RunRef { run: None, commit: Some(first.clone()) });
        assert_eq!(verdicts(&case.build(status, read)), [(3, expected)], "{read:?} {status}");
    }
}

#[test]
fn fewer_bytes_than_the_changed_files_have_prove_that_not_all_were_read() {
    let case = Case::new(&[DOCKERFILE, IGNORE, ("a", "one"), ("b", "a longer one"), ("c", "same")]);
    let first = case.git(&["rev-parse", "HEAD"]);
    case.write(&[("a", "two"), ("b", "b longer two")]);
    case.commit();
    for (read, status, expected) in
        [(&["a"][..], "DONE 0.1s", Verdict::Suspect), (&["a", "c"], "CACHED", Verdict::Suspect), (&["a", "b"], "CACHED", Verdict::Fresh)]
    {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = Some(RunRef { run: None, commit: Some(first.clone()) });
        let report = case.build(status, read);
        assert_eq!(verdicts(&report), [(3, expected)], "{read:?} {status}");
        assert_eq!(report.steps[0].changed_files, ["a", "b"], "what changed, and not all that it takes");
    }
}

#[test]
fn bytes_of_another_changed_file_are_no_proof() {
    let text = "FROM busybox\nCOPY a /a\nCOPY b /b\nCOPY . /all\n";
    let case = Case::new(&[("Dockerfile", text), IGNORE, ("a", "one"), ("b", "a longer one")]);
    let first = case.git(&["rev-parse", "HEAD"]);
    case.write(&[("a", "two"), ("b", "b longer two")]);
    case.commit();
    let steps = [("[2/4] COPY a /a", "CACHED"), ("[3/4] COPY b /b", "DONE 0.1s"), ("[4/4] COPY . /all", "DONE 0.1s")];
    let suspect = [(3, Verdict::Suspect), (4, Verdict::Fresh), (5, Verdict::Suspect)];
    for (read, expected) in [(&["b"][..], suspect), (&["a", "b"], [3, 4, 5].map(|index| (index, Verdict::Fresh)))] {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = Some(RunRef { run: None, commit: Some(first.clone()) });
        let report = case.check("docker buildx build .", &log(case.bytes("", read), &steps), None);
        assert_eq!(verdicts(&report), expected, "{read:?}");
    }
}

#[test]
fn with_the_log_alone_a_cached_copy_is_unknown() {
    let case = Case::new(&[DOCKERFILE]);
    let mut builds = Vec::new();
    let text = log(2, &[("[2/3] COPY . /app", "CACHED"), ("[3/3] COPY x /app", "DONE 0.1s")]);
    let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
    reader.feed(text.as_bytes());
    drop(reader.finish());
    let root = case.root();
    let input = Input {
        builds: &builds,
        commands: &[],
        sources: &Sources::default(),
        commit: None,
        since: None,
        builder: None,
        cwd: &root,
        env: &|_| None,
        past: &case.past,
        images: &[],
        log: None,
    };
    assert_eq!(verdicts(&check(&input)), [(3, Verdict::Unknown), (4, Verdict::Fresh)]);
}

#[test]
fn a_tree_at_another_commit_is_stale_for_the_files_that_differ() {
    let case = Case::new(&[("Dockerfile", "FROM busybox\nCOPY a /a\nCOPY b /b\n"), IGNORE, ("a", "old"), ("b", "b")]);
    let old = case.git(&["rev-parse", "HEAD"]);
    case.write(&[("a", "newer")]);
    let new = case.commit();
    case.git(&["checkout", "-q", &old]);
    let steps = [("[2/3] COPY a /a", "CACHED"), ("[3/3] COPY b /b", "CACHED")];
    let report = case.check("docker buildx build .", &log(5, &steps), Some(&new));
    assert_eq!(report.steps[0].verdict, Verdict::Stale);
    assert_ne!(report.steps[1].verdict, Verdict::Stale);
    assert!(report.findings.iter().any(|finding| finding.rule == "commit-mismatch"));
    // The same by a copy of the tree that was not brought up to date: HEAD is right, the file is not.
    case.git(&["checkout", "-q", &new]);
    case.write(&[("a", "old")]);
    let report = case.check("docker buildx build .", &log(5, &steps), Some(&new));
    assert_eq!(report.steps[0].verdict, Verdict::Stale);
    assert!(report.steps[0].because.contains("earlier commit"), "{}", report.steps[0].because);
}

#[test]
fn an_edit_is_a_dirty_tree_and_not_stale() {
    let case = Case::new(&[DOCKERFILE, IGNORE, ("a", "one")]);
    case.build("DONE 0.1s", &["*"]);
    case.write(&[("a", "edited"), ("untracked", "u")]);
    let report = case.build("DONE 0.1s", &["a", "untracked"]);
    assert_eq!(verdicts(&report), [(3, Verdict::Fresh)]);
    let finding = report.findings.iter().find(|finding| finding.rule == "dirty-tree").unwrap();
    assert_eq!(finding.files, ["a", "untracked"]);
}

#[test]
fn two_contexts_of_one_name_built_at_once_are_suspect() {
    let bake = "target \"api\" { context = \"api/src\" }\ntarget \"web\" { context = \"web/src\" }\ngroup \"default\" { targets = [\"api\", \"web\"] }\n";
    let file = "FROM busybox\nCOPY . /app\n";
    let case = Case::new(&[
        ("docker-bake.hcl", bake),
        ("api/src/Dockerfile", file),
        ("web/src/Dockerfile", file),
        ("api/src/c", "api"),
        ("web/src/c", "web"),
    ]);
    let log = |api: u64, web: u64, status: &str| {
        format!(
            "#0 building with \"b\" instance using docker-container driver\n\n#1 [api internal] load build context\n#1 transferring context: {api}B done\n#1 DONE 0.0s\n\n#2 [web internal] load build context\n#2 transferring context: {web}B done\n#2 DONE 0.0s\n\n#3 [api 2/2] COPY . /app\n#3 {status}\n\n#4 [web 2/2] COPY . /app\n#4 {status}\n\n#5 [api] exporting to image\n#5 DONE 0.1s\n\n#6 [web] exporting to image\n#6 DONE 0.1s\n"
        )
    };
    let (full, nothing) = (case.bytes("api/src", &["*"]), case.bytes("api/src", &[]));
    let first = case.check("docker buildx bake", &log(full, full, "DONE 0.1s"), None);
    assert_eq!(verdicts(&first), [(3, Verdict::Fresh), (4, Verdict::Fresh)]);
    let second = case.check("docker buildx bake", &log(nothing, nothing, "CACHED"), None);
    assert_eq!(verdicts(&second), [(3, Verdict::Suspect), (4, Verdict::Suspect)]);
    assert_eq!(second.steps[0].changed_files, ["c"]);
}

#[test]
fn stages_that_take_from_a_stale_stage_are_not_fresh() {
    let file = "FROM busybox AS build\nCOPY a /a\nRUN --mount=target=/src cp /src/b /b\nFROM scratch\nCOPY --from=build /a /a\n";
    let case = Case::new(&[("Dockerfile", file), IGNORE, ("a", "old"), ("b", "old")]);
    let steps = |status| {
        [
            ("[build 2/3] COPY a /a", status),
            ("[build 3/3] RUN --mount=target=/src cp /src/b /b", status),
            ("[stage-1 1/1] COPY --from=build /a /a", status),
        ]
    };
    let command = "docker buildx build .";
    case.check(command, &log(case.bytes("", &["*"]), &steps("DONE 0.1s")), None);
    case.write(&[("a", "new"), ("b", "new")]);
    case.commit();
    let report = case.check(command, &log(case.bytes("", &[]), &steps("CACHED")), None);
    assert_eq!(verdicts(&report), [(3, Verdict::Stale), (4, Verdict::Stale), (5, Verdict::Suspect)]);
}

#[test]
fn only_what_a_build_follows_is_synced() {
    let case = Case::new(&[("Dockerfile", "FROM busybox\nCOPY a /a\n"), IGNORE, ("a", "one"), ("z", "z")]);
    let root = case.root();
    let rules = ignore_rules(&root, None).unwrap().0;
    let sizes = TransferSizes::of(&list(&root, &rules, Some(&["a".to_owned()])).unwrap());
    let command = "docker buildx build .";
    let report = case.check(command, &log(sizes.full(), &[("[2/2] COPY a /a", "DONE 0.1s")]), None);
    assert_eq!(report.syncs[0].copies[0].iter().count(), 1);
    let report = case.check(command, &log(sizes.listing, &[("[2/2] COPY a /a", "CACHED")]), None);
    assert!(report.steps[0].because.contains("by right"), "{}", report.steps[0].because);
}

#[test]
fn a_named_context_has_a_copy_of_its_own() {
    let case = Case::new(&[("app/Dockerfile", "FROM busybox\nCOPY --from=lib . /lib\n"), ("libs/x", "old")]);
    let text = |bytes: u64, status: &str| {
        format!(
            "#0 building with \"b\" instance using docker-container driver\n\n#1 [context lib] load from client\n#1 transferring lib: {bytes}B done\n#1 DONE 0.0s\n\n#2 [1/2] FROM docker.io/library/busybox\n#2 CACHED\n\n#3 [2/2] COPY --from=lib . /lib\n#3 {status}\n\n#4 exporting to image\n#4 exporting layers done\n#4 DONE 0.1s\n"
        )
    };
    let command = "docker buildx build --build-context lib=libs app";
    case.check(command, &text(case.bytes("libs", &["*"]), "DONE 0.1s"), None);
    case.write(&[("libs/x", "new")]);
    case.commit();
    assert_eq!(verdicts(&case.check(command, &text(case.bytes("libs", &[]), "CACHED"), None)), [(3, Verdict::Stale)]);
}

#[test]
fn docker_20_uses_an_old_dockerfile() {
    let case = Case::new(&[("Dockerfile", "FROM busybox\nRUN echo 1\n"), IGNORE]);
    let text = |bytes: u64, step: &str| {
        format!(
            "#1 [internal] load build definition from Dockerfile\n#1 sha256:{0}\n#1 transferring dockerfile: {bytes}B done\n#1 DONE 0.0s\n\n#2 [1/2] FROM docker.io/library/busybox\n#2 sha256:{0}\n#2 DONE 0.0s\n\n#3 [2/2] {step}\n#3 sha256:{0}\n#3 CACHED\n\n#4 exporting to image\n#4 sha256:{0}\n#4 exporting layers done\n#4 DONE 0.1s\n",
            "0".repeat(64)
        )
    };
    let sizes = TransferSizes::of(&list(&case.root(), &IgnoreRules::default(), Some(&["Dockerfile".to_owned()])).unwrap());
    let command = "docker build .";
    assert_eq!(verdicts(&case.check(command, &text(sizes.full(), "RUN echo 1"), None)), []);
    case.write(&[("Dockerfile", "FROM busybox\nRUN echo 2\n")]);
    case.commit();
    let report = case.check(command, &text(sizes.listing, "RUN echo 1"), None);
    assert_eq!(verdicts(&report), [(3, Verdict::Stale)]);
    assert_eq!(report.findings[0].rule, "stale-dockerfile");
}

#[test]
fn a_base_that_was_not_built_again_is_suspect() {
    let mut case = Case::new(&[("Dockerfile", "FROM base\nRUN cat /shared\n"), ("base/shared", "new")]);
    let files = vec![("shared".to_owned(), ContentId::Git("0".repeat(40).into()))];
    case.past.image = Some(BuiltImage { from: RunRef::default(), prefix: "base/".into(), files });
    let report = case.check("docker buildx build .", &log(2, &[("[2/2] RUN cat /shared", "CACHED")]), None);
    assert_eq!(verdicts(&report), [(2, Verdict::Suspect), (3, Verdict::Suspect)]);
    assert_eq!(report.findings[0].rule, "stale-base");
    assert_eq!(report.findings[0].files, ["base/shared"]);
}

#[test]
fn a_context_that_is_not_here_is_judged_by_the_commit() {
    let case = Case::new(&[DOCKERFILE, IGNORE, ("a", "one")]);
    case.build("DONE 0.1s", &["*"]);
    let command = "docker buildx build -f Dockerfile /nowhere/app";
    let cached = log(700, &[("[2/2] COPY . /app", "CACHED")]);
    assert_eq!(verdicts(&case.check(command, &cached, None)), [(3, Verdict::Fresh)]);
    case.write(&[("a", "two")]);
    let commit = case.commit();
    let report = case.check(command, &cached, Some(&commit));
    assert_eq!(verdicts(&report), [(3, Verdict::Suspect)]);
    assert!(report.steps[0].because.contains("/nowhere/app"));
}

#[test]
fn outside_of_git_contents_are_compared_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case { dir, past: Memory::default(), images: Vec::new(), log: None };
    case.write(&[DOCKERFILE, ("a", "old")]);
    assert_eq!(verdicts(&case.build("DONE 0.1s", &["*"])), [(3, Verdict::Fresh)]);
    case.write(&[("a", "new")]);
    assert_eq!(verdicts(&case.build("CACHED", &[])), [(3, Verdict::Stale)]);
}

#[path = "by_image_tests.rs"]
mod by_image;

#[test]
fn docker_20_uses_an_old_ignore_file() {
    let case = Case::new(&[
        ("Dockerfile", "FROM busybox\nCOPY . /app\n"),
        (".dockerignore", ".git\nDockerfile\ndocs\n"),
        ("docs/x", "x"),
        ("temp/y", "y"),
    ]);
    let log = |read: u64, ignore: u64| {
        format!(
            "#1 [internal] load build definition from Dockerfile\n#1 transferring dockerfile: 900B done\n#1 DONE 0.0s\n\n\
             #2 [internal] load .dockerignore\n#2 transferring context: {ignore}B done\n#2 DONE 0.0s\n\n\
             #3 [internal] load build context\n#3 transferring context: {read}B done\n#3 DONE 0.0s\n\n\
             #4 [2/2] COPY . /app\n#4 CACHED\n\n#5 exporting to image\n#5 DONE 0.0s\n"
        )
    };
    let root = case.root();
    let sizes = |paths: Option<&[String]>, rules: &IgnoreRules| TransferSizes::of(&list(&root, rules, paths).unwrap());
    let ignore = sizes(Some(&[".dockerignore".to_owned()]), &IgnoreRules::default());
    let old_rules = IgnoreRules::parse(b".git\nDockerfile\ndocs\n").unwrap();
    let first = case.check("docker build .", &log(sizes(None, &old_rules).full(), ignore.full()), None);
    assert_eq!(verdicts(&first), [(4, Verdict::Fresh)]);
    // As long as before, and of the same time: the builder does not read it again, and still leaves docs out.
    case.write(&[(".dockerignore", ".git\nDockerfile\ntemp\n")]);
    case.commit();
    let report = case.check("docker build .", &log(sizes(None, &old_rules).listing, ignore.listing), None);
    assert_eq!(verdicts(&report), [(4, Verdict::Stale)], "{:?}", report.steps);
    assert_eq!(report.steps[0].changed_files, ["docs/x", "temp/y"]);
    assert!(report.findings.iter().any(|finding| finding.rule == "stale-dockerfile" && finding.message.contains(".dockerignore")));
    // Touched, it is read again.
    case.touch(".dockerignore");
    let rules = IgnoreRules::parse(b".git\nDockerfile\ntemp\n").unwrap();
    let report = case.check("docker build .", &log(sizes(None, &rules).full(), ignore.full()), None);
    assert_eq!(verdicts(&report), [(4, Verdict::Fresh)], "{:?}", report.steps);
    // buildx reads it again at every build.
    assert!(!report.findings.iter().any(|finding| finding.rule == "stale-dockerfile"));
}

#[test]
fn the_log_in_the_context_is_no_riddle() {
    let mut case = Case::new(&[DOCKERFILE, IGNORE, ("a", "old"), ("b", "b")]);
    // `docker build . > build.log 2>&1`: what is sent of the log is what was in it when it was read.
    let sent = |case: &Case, written: &str, read: &[&str]| {
        let log = case.dir.path().join("build.log");
        fs::write(&log, written).unwrap();
        let read = [read, &["build.log"]].concat();
        case.bytes("", &read)
    };
    case.log = Some(case.root().join("build.log"));
    let run = |case: &Case, read: &[&str]| {
        let text = log(sent(case, "#0 building\n", read), &[("[2/2] COPY . /app", "DONE 0.1s")]);
        fs::write(case.dir.path().join("build.log"), &text).unwrap();
        case.check("docker buildx build .", &text, None)
    };
    assert_eq!(verdicts(&run(&case, &["*"])), [(3, Verdict::Fresh)]);
    let again = run(&case, &[]);
    assert_eq!(verdicts(&again), [(3, Verdict::Fresh)]);
    assert_eq!(again.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [""; 0], "the log itself makes no dirty tree");
    assert!(again.notes.iter().any(|note| note.starts_with("the log build.log lies in the context")), "{:?}", again.notes);
    case.write(&[("a", "new")]);
    case.git(&["add", "a"]);
    let _ = fs::remove_file(case.dir.path().join(".git/index"));
    case.git(&["add", "a", "b", "Dockerfile", ".dockerignore"]);
    case.git(&["commit", "-qm", "x"]);
    let stale = run(&case, &[]);
    assert_eq!(verdicts(&stale), [(3, Verdict::Stale)], "{:?}", stale.steps);
    assert_eq!(stale.steps[0].changed_files, ["a"]);
    // Another file of that kind is a dirty tree as ever.
    fs::write(case.dir.path().join("other.log"), "x").unwrap();
    assert!(run(&case, &["other.log"]).findings.iter().any(|finding| finding.rule == "dirty-tree" && finding.files == ["other.log"]));
}

#[test]
fn each_image_goes_with_the_context_that_it_was_made_from() {
    let case = Case::new(&[
        ("a/Dockerfile", "FROM busybox\nCOPY . /app\n"),
        ("a/x", "x"),
        ("b/Dockerfile", "FROM busybox\nCOPY . /app\n"),
        ("b/x", "y"),
    ]);
    let mut builds = Vec::new();
    let named = |name: &str| {
        log(400, &[("[2/2] COPY . /app", "DONE 0.1s")])
            .replace("#90 DONE", &format!("#90 naming to docker.io/library/{name} done\n#90 DONE"))
    };
    let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
    reader.feed((named("one") + &named("two")).as_bytes());
    drop(reader.finish());
    let root = case.root();
    let env = |_: &str| None;
    let command = |dir: &str| build_command::parse(&format!("cd {dir} && docker buildx build ."), &root, &env).unwrap();
    let input = Input {
        builds: &builds,
        commands: &[Some(command("a")), Some(command("b"))],
        sources: &Sources::default(),
        commit: None,
        since: None,
        builder: None,
        cwd: &root,
        env: &env,
        past: &case.past,
        images: &[],
        log: None,
    };
    let report = check(&input);
    let of: Vec<_> = report.syncs.iter().map(|sync| (sync.images.clone(), sync.prefix.as_str())).collect();
    assert_eq!(of, [(vec!["one:latest".to_owned()], "a/"), (vec!["two:latest".to_owned()], "b/")]);
}
