//! Verdicts with an image at hand.

use super::*;
use crate::evidence::image::testing::{TestImage, gzip, layout, save, tar};

impl Case {
    /// Gives the check an archive of these images. It lies where neither git nor the context sees it.
    fn images(&mut self, images: &[TestImage]) {
        let path = self.dir.path().join(".git/image.tar");
        save(&path, images);
        self.images = Image::read_all(&path).unwrap();
    }

    fn image(&mut self, image: TestImage) {
        self.images(&[image]);
    }
}

const COMMAND: &str = "docker buildx build -t app .";

fn cached(case: &Case, steps: &[&str]) -> String {
    let steps: Vec<_> = steps.iter().map(|step| (*step, "CACHED")).collect();
    log(case.bytes("", &[]), &steps)
}

fn evidence(report: &Report, rule: &str) -> Vec<String> {
    report.findings.iter().filter(|finding| finding.rule == rule).flat_map(|finding| finding.evidence.clone()).collect()
}

#[test]
fn the_bytes_of_the_image_outrank_everything() {
    let file = "FROM busybox\nWORKDIR /app\nCOPY . ./\n";
    let mut case = Case::new(&[("Dockerfile", file), IGNORE, ("a", "old"), ("b", "b")]);
    case.write(&[("a", "new")]);
    case.commit();
    let text = cached(&case, &["[2/3] WORKDIR /app", "[3/3] COPY . ./"]);
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(4, Verdict::Unknown)]);
    let image = |a: &[u8], b: &[u8]| {
        let files = [("app/Dockerfile", file.as_bytes()), ("app/.dockerignore", b".git\n"), ("app/a", a), ("app/b", b)];
        TestImage::new().layer("COPY . ./ # buildkit", &[]).nothing("WORKDIR /app").layer("COPY . ./ # buildkit", &files).nothing("CMD")
    };
    case.image(image(b"new", b"b"));
    let report = case.check(COMMAND, &text, None);
    assert_eq!(verdicts(&report), [(4, Verdict::Fresh)]);
    assert_eq!(report.steps[0].because, "the image holds these very files");
    case.image(image(b"old", b"?"));
    let report = case.check(COMMAND, &text, None);
    assert_eq!(verdicts(&report), [(4, Verdict::Stale)]);
    assert_eq!(report.steps[0].changed_files, ["a", "b"]);
    let said = ["a: the image has what an earlier commit had there", "b: the image has other bytes"];
    assert_eq!(evidence(&report, "stale-copy"), said);
    // Also against the record, which after this image says otherwise.
    case.image(image(b"new", b"b"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(4, Verdict::Fresh)]);
}

#[test]
fn every_kind_of_destination_is_found() {
    let file = "FROM busybox\nWORKDIR /srv\nCOPY a b dir/\nCOPY --chown=1:1 --chmod=755 d /d\nCOPY x.txt /y.txt\nCOPY --parents p/./q /parents/\nCOPY d/n e/n /over/\nCOPY [\"w w\", \"/lib/\"]\nCOPY g*.go ./\n";
    let context = [
        ("Dockerfile", file),
        IGNORE,
        ("a", "a"),
        ("b", "b"),
        ("d/n", "dn"),
        ("e/n", "en"),
        ("x.txt", "x"),
        ("p/q/r", "r"),
        ("w w", "w"),
        ("g1.go", "g1"),
    ];
    let mut case = Case::new(&context);
    let steps = [
        "[2/9] WORKDIR /srv",
        "[3/9] COPY a b dir/",
        "[4/9] COPY --chown=1:1 --chmod=755 d /d",
        "[5/9] COPY x.txt /y.txt",
        "[6/9] COPY --parents p/./q /parents/",
        "[7/9] COPY d/n e/n /over/",
        "[8/9] COPY [w w, /lib/]",
        "[9/9] COPY g*.go ./",
    ];
    let text = cached(&case, &steps);
    // (the step's number, the entry of the history, the path in the image, its content)
    let places = [
        (4, "COPY a b dir/", "srv/dir/a", "a"),
        (4, "COPY a b dir/", "srv/dir/b", "b"),
        (5, "COPY --chown=1:1 --chmod=755 d /d", "d/n", "dn"),
        (6, "COPY x.txt /y.txt", "y.txt", "x"),
        (7, "COPY --parents p/./q /parents/", "parents/q/r", "r"),
        (8, "COPY d/n e/n /over/", "over/n", "en"),
        (9, "COPY w w /lib/", "usr/lib/w w", "w"),
        (10, "COPY g*.go ./", "srv/g1.go", "g1"),
    ];
    let image = |wrong: Option<usize>| {
        let mut image = TestImage::new().layer("base", &[("lib -> usr/lib", b"")]).nothing("WORKDIR /srv");
        let mut entries: Vec<&str> = places.iter().map(|place| place.1).collect();
        entries.dedup();
        for entry in entries {
            let of_entry = places.iter().enumerate().filter(|(_, place)| place.1 == entry);
            let files: Vec<(&str, &[u8])> =
                of_entry.map(|(at, place)| (place.2, if wrong == Some(at) { &b"other"[..] } else { place.3.as_bytes() })).collect();
            image = image.layer(&format!("{entry} # buildkit"), &files);
        }
        // A later command changes and deletes what was copied.
        image.layer("RUN /bin/sh -c true # buildkit", &[("srv/dir/a", b"changed"), ("d/.wh.n", b""), (".wh.y.txt", b"")])
    };
    case.image(image(None));
    let report = case.check(COMMAND, &text, None);
    let stale: Vec<_> = report.steps.iter().filter(|step| step.verdict != Verdict::Fresh).map(|step| (&step.name, &step.because)).collect();
    assert_eq!(stale, []);
    assert_eq!(report.steps.len(), 7);
    for (at, (index, ..)) in places.iter().enumerate() {
        case.image(image(Some(at)));
        let report = case.check(COMMAND, &text, None);
        let wrong: Vec<_> = report.steps.iter().filter(|step| step.verdict != Verdict::Fresh).collect();
        assert_eq!(wrong.iter().map(|step| (step.index, step.verdict)).collect::<Vec<_>>(), [(*index, Verdict::Stale)], "{at}");
    }
}

#[test]
fn without_a_layer_for_each_step_the_image_as_a_whole_decides() {
    let mut case = Case::new(&[("Dockerfile", "FROM busybox\nCOPY a b /app/\nRUN x\n"), IGNORE, ("a", "old"), ("b", "b")]);
    case.write(&[("a", "new")]);
    case.commit();
    let text = cached(&case, &["[2/3] COPY a b /app/", "[3/3] RUN x"]);
    let squashed = |a: &[u8], b: &[u8]| {
        let merged = [("app/a", a), ("app/b", b)];
        TestImage::new().nothing("COPY a b /app/ # buildkit").nothing("RUN x").layer("", &merged)
    };
    case.image(squashed(b"new", b"b"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Fresh)]);
    case.image(squashed(b"old", b"b"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Stale)]);
    // What a later command made of a file is no proof.
    case.past.copies.borrow_mut().clear();
    *case.past.last.borrow_mut() = None;
    case.image(squashed(b"new", b"made by x"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Fresh)]);
    case.past.copies.borrow_mut().clear();
    *case.past.last.borrow_mut() = None;
    case.image(squashed(b"made by x", b"made by x"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Unknown)]);
}

#[test]
fn a_relative_destination_starts_where_the_base_image_left() {
    let mut case = Case::new(&[("Dockerfile", "FROM node\nCOPY a .\nWORKDIR /later\n"), IGNORE, ("a", "a")]);
    let text = cached(&case, &["[2/3] COPY a .", "[3/3] WORKDIR /later"]);
    let image = |content: &[u8]| {
        let base = TestImage::new().nothing("WORKDIR /usr").nothing("/bin/sh -c #(nop) WORKDIR src");
        base.layer("COPY a . # buildkit", &[("usr/src/a", content)]).layer("WORKDIR /later", &[]).workdir("/later")
    };
    case.image(image(b"a"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Fresh)]);
    case.image(image(b"?"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Stale)]);
}

#[test]
fn each_platform_is_judged_by_its_own_image() {
    let mut case = Case::new(&[("Dockerfile", "FROM busybox\nCOPY a /a\n"), IGNORE, ("a", "a")]);
    let text = cached(&case, &["[linux/amd64 2/2] COPY a /a", "[linux/arm64 2/2] COPY a /a"]);
    let image = |architecture, content| TestImage::new().architecture(architecture).layer("COPY a /a # buildkit", &[("a", content)]);
    let root = case.dir.path().join(".git/layout");
    layout(&root, &[image("amd64", b"a"), image("arm64", b"old")]);
    case.images = Image::read_all(&root).unwrap();
    let command = "docker buildx build --platform linux/amd64,linux/arm64 .";
    assert_eq!(verdicts(&case.check(command, &text, None)), [(3, Verdict::Fresh), (4, Verdict::Stale)]);
}

#[test]
fn names_and_digests_say_which_build_an_image_is_of() {
    let mut case = Case::new(&[("Dockerfile", "FROM busybox\nCOPY a /a\n"), IGNORE, ("a", "a")]);
    let plain = cached(&case, &["[2/2] COPY a /a"]);
    let build = |name: &str, digest: &str| {
        let name = format!("#90 writing image {digest} done\n#90 naming to docker.io/library/{name} done\n#90 DONE");
        plain.replace("#90 DONE", &name)
    };
    let image = |content: &[u8], name: &str| TestImage::new().layer("COPY a /a # buildkit", &[("a", content)]).nothing(name).name(name);
    let (api, web) = (image(b"old", "api:latest"), image(b"a", "web:latest"));
    let text = build("api", &api.id()) + &build("web", &web.id());
    case.images(&[web, api]);
    let report = case.check("docker buildx build .", &text, None);
    let found: Vec<_> = report.steps.iter().map(|step| (step.build, step.verdict)).collect();
    assert_eq!(found, [(0, Verdict::Stale), (1, Verdict::Fresh)]);
    assert_eq!(report.notes, Vec::<String>::new());
    // The name is that of the build, the content that of another one.
    case.image(image(b"a", "api:latest").nothing("LABEL x=y"));
    let report = case.check("docker buildx build .", &build("api", &"sha256:1".repeat(8)), None);
    assert_eq!(verdicts(&report), [(3, Verdict::Fresh)]);
    assert!(report.notes.iter().any(|note| note.contains("may be another image")), "{:?}", report.notes);
}

#[test]
fn a_target_of_bake_is_known_by_its_tag() {
    let bake = "target \"api\" {\n tags = [\"api:1\"]\n}\ntarget \"web\" {\n tags = [\"web:1\"]\n}\ngroup \"default\" { targets = [\"api\", \"web\"] }\n";
    let mut case = Case::new(&[("docker-bake.hcl", bake), ("Dockerfile", "FROM busybox\nCOPY a /a\n"), IGNORE, ("a", "a")]);
    let text = cached(&case, &["[api 2/2] COPY a /a", "[web 2/2] COPY a /a"]);
    case.image(TestImage::new().layer("COPY a /a # buildkit", &[("a", b"old")]).name("web:1"));
    let report = case.check("docker buildx bake", &text, None);
    assert_eq!(verdicts(&report), [(3, Verdict::Unknown), (4, Verdict::Stale)]);
    case.image(TestImage::new().layer("COPY a /a # buildkit", &[("a", b"old")]).name("db:1"));
    let report = case.check("docker buildx bake", &text, None);
    assert!(report.notes.iter().any(|note| note.starts_with("db:1 has the name of no target")), "{:?}", report.notes);
}

#[test]
fn a_service_of_compose_is_known_by_the_name_that_compose_gives_it() {
    let compose = "services:\n  web:\n    build: .\n  my-web:\n    build: .\n";
    let mut case = Case::new(&[("compose.yaml", compose), ("Dockerfile", "FROM busybox\nCOPY a /a\n"), IGNORE, ("a", "a")]);
    let text = cached(&case, &["[my-web 2/2] COPY a /a", "[web 2/2] COPY a /a"]);
    for (name, verdicts_then) in [
        ("proj-web:latest", [(3, Verdict::Unknown), (4, Verdict::Stale)]),
        // Both take from one context, so what this image shows puts the other one in doubt.
        ("proj-my-web:latest", [(3, Verdict::Stale), (4, Verdict::Suspect)]),
    ] {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = None;
        case.image(TestImage::new().layer("COPY a /a # buildkit", &[("a", b"?")]).name(name));
        let report = case.check("docker compose build", &text, None);
        assert_eq!(verdicts(&report), verdicts_then, "{:?}", report.notes);
    }
}

#[test]
fn what_stands_in_the_dockerfile_itself_is_in_no_doubt() {
    let file = "FROM busybox\nWORKDIR /w\nCOPY <<one.txt <<two.txt ./\none\none.txt\ntwo\ntwo.txt\nCOPY a <<three /dir/\n3\nthree\n";
    let mut case = Case::new(&[("Dockerfile", file), IGNORE, ("a", "old"), ("empty", "")]);
    case.write(&[("a", "new")]);
    case.commit();
    let text = cached(&case, &["[2/4] WORKDIR /w", "[3/4] COPY <<one.txt <<two.txt ./", "[4/4] COPY a <<three /dir/"]);
    for (content, verdict) in [(&b"new"[..], Verdict::Fresh), (b"old", Verdict::Stale)] {
        let image = TestImage::new()
            .nothing("WORKDIR /w")
            .layer("COPY <<one.txt <<two.txt ./ # buildkit", &[("w/one.txt", b"one\n"), ("w/two.txt", b"two\n")])
            .layer("COPY a <<three /dir/ # buildkit", &[("dir/a", content), ("dir/three", b"3\n")]);
        case.image(image);
        let report = case.check(COMMAND, &text, None);
        let found: Vec<_> = verdicts(&report).into_iter().filter(|(_, verdict)| *verdict != Verdict::Fresh).collect();
        let expected = if verdict == Verdict::Fresh { vec![] } else { vec![(5, verdict)] };
        assert_eq!(found, expected, "{:?}", report.steps);
    }
}

#[test]
fn files_are_followed_through_stages() {
    let file = "FROM busybox AS build\nWORKDIR /src\nCOPY . .\nRUN make\nFROM scratch\nCOPY --from=build /src/conf /conf/\nCOPY --from=build /src/app /app\n";
    let mut case = Case::new(&[("Dockerfile", file), IGNORE, ("conf/a", "old"), ("main.c", "c")]);
    case.write(&[("conf/a", "new")]);
    case.commit();
    let steps = [
        "[build 2/4] WORKDIR /src",
        "[build 3/4] COPY . .",
        "[build 4/4] RUN make",
        "[stage-1 1/2] COPY --from=build /src/conf /conf/",
        "[stage-1 2/2] COPY --from=build /src/app /app",
    ];
    let text = cached(&case, &steps);
    let image = |a: &[u8]| {
        TestImage::new()
            .layer("COPY /src/conf /conf/ # buildkit", &[("conf/a", a)])
            .layer("COPY /src/app /app # buildkit", &[("app", b"made")])
    };
    let first = case.git(&["rev-parse", "HEAD~1"]);
    let start_anew = |case: &Case| {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = Some(RunRef { run: None, commit: Some(first.clone()) });
    };
    start_anew(&case);
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(4, Verdict::Suspect), (6, Verdict::Suspect), (7, Verdict::Suspect)]);
    // The image has the changed file as it is to be: so had the builder, and what was made of it is of the commit.
    start_anew(&case);
    case.image(image(b"new"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(4, Verdict::Fresh)]);
    start_anew(&case);
    case.image(image(b"old"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(4, Verdict::Stale), (6, Verdict::Stale), (7, Verdict::Stale)]);
    // A command made another file of it, or the image is none of ours: that proves nothing.
    start_anew(&case);
    case.image(image(b"changed by make"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(4, Verdict::Suspect), (6, Verdict::Suspect), (7, Verdict::Suspect)]);
}

#[test]
fn archives_are_compared_unpacked() {
    let mut case = Case::new(&[("Dockerfile", "FROM scratch\nADD root.tgz x.tar.txt /\n"), IGNORE, ("x.tar.txt", "no archive")]);
    let root = |content: &[u8]| gzip(&tar(&[("./etc/conf", content), ("bin/sh", b"sh")]));
    fs::write(case.dir.path().join("root.tgz"), root(b"new")).unwrap();
    case.commit();
    let text = cached(&case, &["[1/1] ADD root.tgz x.tar.txt /"]);
    let image = |content: &[u8]| {
        let files = [("etc/conf", content), ("bin/sh", &b"sh"[..]), ("x.tar.txt", b"no archive")];
        TestImage::new().layer("ADD root.tgz x.tar.txt / # buildkit", &files)
    };
    case.image(image(b"new"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Fresh)]);
    case.image(image(b"old"));
    let report = case.check(COMMAND, &text, None);
    assert_eq!(verdicts(&report), [(3, Verdict::Stale)]);
    assert_eq!(report.steps[0].changed_files, ["root.tgz"]);
}

#[cfg(unix)]
#[test]
fn links_line_ends_and_second_names() {
    let mut case = Case::new(&[DOCKERFILE, IGNORE, (".gitattributes", "*.txt text\n"), ("a.txt", "one\r\ntwo\r\n"), ("f", "f")]);
    std::os::unix::fs::symlink("f", case.dir.path().join("l")).unwrap();
    fs::hard_link(case.dir.path().join("f"), case.dir.path().join("g")).unwrap();
    case.commit();
    let text = cached(&case, &["[2/2] COPY . /app"]);
    let image = |link: &'static str, crlf: &[u8]| {
        let link = format!("app/l -> {link}");
        let files = [
            ("app/Dockerfile", DOCKERFILE.1.as_bytes()),
            ("app/.dockerignore", b".git\n"),
            ("app/.gitattributes", b"*.txt text\n"),
            ("app/a.txt", crlf),
            ("app/f", b"f"),
            ("app/g => app/f", b""),
            (link.as_str(), b""),
        ];
        TestImage::new().layer("COPY . /app # buildkit", &files)
    };
    for (link, crlf, expected) in [
        ("f", &b"one\r\ntwo\r\n"[..], Verdict::Fresh),
        ("f", b"one\ntwo\n", Verdict::Fresh),
        ("g", b"one\ntwo\n", Verdict::Stale),
        ("f", b"one\ntwo", Verdict::Stale),
    ] {
        case.image(image(link, crlf));
        assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, expected)], "{link} {crlf:?}");
    }
}

#[test]
fn the_tree_may_lack_what_the_image_has() {
    let mut case = Case::new(&[DOCKERFILE, IGNORE, ("a", "a")]);
    let old = case.git(&["rev-parse", "HEAD"]);
    case.write(&[("added", "x")]);
    let new = case.commit();
    case.git(&["checkout", "-q", &old]);
    let text = cached(&case, &["[2/2] COPY . /app"]);
    let image = |more: bool| {
        let mut files = vec![("app/Dockerfile", DOCKERFILE.1.as_bytes()), ("app/.dockerignore", b".git\n"), ("app/a", b"a")];
        if more {
            files.push(("app/added", b"x"));
        }
        TestImage::new().layer("COPY . /app # buildkit", &files)
    };
    case.image(image(true));
    assert_eq!(verdicts(&case.check(COMMAND, &text, Some(&new))), [(3, Verdict::Fresh)]);
    case.image(image(false));
    let report = case.check(COMMAND, &text, Some(&new));
    assert_eq!(verdicts(&report), [(3, Verdict::Stale)]);
    assert_eq!(report.steps[0].changed_files, ["added"]);
}

#[test]
fn a_commit_that_is_not_here_leaves_the_tree_to_compare_with() {
    let mut case = Case::new(&[DOCKERFILE, IGNORE, ("a", "old")]);
    case.write(&[("a", "new")]);
    case.commit();
    let text = cached(&case, &["[2/2] COPY . /app"]);
    let elsewhere = Some("0123456789abcdef");
    assert_eq!(verdicts(&case.check(COMMAND, &text, elsewhere)), [(3, Verdict::Suspect)]);
    for (content, verdict) in [(&b"new"[..], Verdict::Fresh), (b"old", Verdict::Stale), (b"???", Verdict::Stale)] {
        let files = [("app/Dockerfile", DOCKERFILE.1.as_bytes()), ("app/.dockerignore", b".git\n"), ("app/a", content)];
        case.image(TestImage::new().layer("COPY . /app # buildkit", &files));
        let report = case.check(COMMAND, &text, elsewhere);
        assert_eq!(verdicts(&report), [(3, verdict)]);
        assert!(report.steps[0].because.contains("0123456789ab is not in this repository"), "{}", report.steps[0].because);
        assert!(report.findings.iter().any(|finding| finding.rule == "commit-mismatch" && finding.severity == Severity::Error));
    }
}

#[test]
fn remote_code_is_as_old_as_its_layer() {
    let file = "FROM busybox\nARG V\nRUN git clone -q http://h/l.git /l\nRUN wget -q http://h/x -O /x && echo $V\nCOPY a /a\n";
    let mut case = Case::new(&[("Dockerfile", file), IGNORE, ("a", "a")]);
    let steps = ["[2/4] RUN git clone -q http://h/l.git /l", "[3/4] RUN wget -q http://h/x -O /x && echo 7", "[4/4] COPY a /a"];
    let text = cached(&case, &steps);
    let command = "docker buildx build --build-arg V=7 .";
    let found = |report: &Report| -> Vec<(Option<u32>, Severity, String)> {
        let found = report.findings.iter().filter(|finding| finding.rule == "stale-run");
        found
            .map(|finding| (finding.in_log.as_ref().unwrap().index, finding.severity, finding.evidence.join("; ") + &finding.help))
            .collect()
    };
    assert_eq!(verdicts(&case.check(command, &text, None))[..2], [(3, Verdict::Suspect), (4, Verdict::Suspect)]);
    let commit = "05f61b82cec98d2f05f61b82cec98d2f05f61b82";
    let image = |created: &str| {
        let head = format!("{commit}\n");
        TestImage::new()
            .layer("RUN |1 V=7 /bin/sh -c git clone -q http://h/l.git /l # buildkit", &[("l/.git/HEAD", head.as_bytes())])
            .layer("RUN |1 V=7 /bin/sh -c wget -q http://h/x -O /x && echo $V # buildkit", &[("x", b"x")])
            .layer("COPY a /a # buildkit", &[("a", b"a")])
            .created(created)
    };
    case.image(image("2026-11-20T10:00:00.123Z"));
    let report = case.check(command, &text, None);
    assert_eq!(verdicts(&report), [(3, Verdict::Fresh), (4, Verdict::Fresh), (5, Verdict::Fresh)]);
    assert!(report.steps[0].because.contains("was made on 2026-11-20 10:00:00 UTC: what it fetched then"), "{}", report.steps[0].because);
    // What only the remote can tell stays a warning, which says what to compare.
    let said = found(&report);
    assert_eq!(
        said.iter().map(|(index, severity, _)| (*index, *severity)).collect::<Vec<_>>(),
        [(Some(3), Severity::Warning), (Some(4), Severity::Warning)]
    );
    assert!(said[0].2.contains(&format!("/l in it is at {commit}")) && said[0].2.contains("compare 05f61b82cec9 with"), "{}", said[0].2);
    assert!(!said[1].2.contains("ls-remote"), "{}", said[1].2);
    // A layer that was made while the log was, by another of its builds.
    let timed: String = text
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("2026-11-20T09:59:59.000000000Z {line}\n") })
        .collect();
    let report = case.check(command, &timed, None);
    assert_eq!((verdicts(&report)[0], found(&report).len()), ((3, Verdict::Fresh), 0), "{:?}", report.findings);
    // Without a layer of its own it cannot be said when it ran.
    case.image(TestImage::new().nothing("RUN x").layer("", &[("a", b"a"), ("x", b"x")]).created("2026-11-20T10:00:00Z"));
    assert_eq!(verdicts(&case.check(command, &text, None)), [(3, Verdict::Suspect), (4, Verdict::Suspect), (5, Verdict::Fresh)]);
}

#[test]
fn every_form_of_a_run_finds_its_layer() {
    let file = "FROM busybox\nRUN [\"git\", \"clone\", \"http://h/l.git\"]\nRUN <<EOF\ngit clone http://h/m.git\nEOF\nRUN --network=host git   clone \\\n  http://h/n.git\n";
    let mut case = Case::new(&[("Dockerfile", file), IGNORE]);
    let steps = [
        "[2/4] RUN [\"git\", \"clone\", \"http://h/l.git\"]",
        "[3/4] RUN <<EOF (git clone http://h/m.git)",
        "[4/4] RUN --network=host git   clone   http://h/n.git",
    ];
    let text = cached(&case, &steps);
    let image = TestImage::new()
        .layer("RUN git clone http://h/l.git # buildkit", &[])
        .layer("RUN /bin/sh -c git clone http://h/m.git\n # buildkit", &[])
        .layer("RUN /bin/sh -c git   clone   http://h/n.git # buildkit", &[])
        .created("2026-11-20T10:00:00Z");
    case.image(image);
    let report = case.check(COMMAND, &text, None);
    let open: Vec<_> = report.steps.iter().filter(|step| step.verdict != Verdict::Fresh).map(|step| &step.name).collect();
    assert_eq!(open, [""; 0]);
    assert!(!report.steps.is_empty());
}

#[test]
fn steps_that_no_dockerfile_has_are_found_by_the_log() {
    // ONBUILD of the base image, as docker 20.10 numbers it.
    let mut case = Case::new(&[("Dockerfile", "FROM onb\nCOPY b /b\n"), IGNORE, ("a", "old"), ("b", "b")]);
    case.write(&[("a", "new")]);
    case.commit();
    let text = cached(&case, &["[2/2] COPY a ./", "[3/2] RUN echo onbuild > /ran", "[4/2] COPY b /b"]);
    let image = |a: &[u8]| {
        let base = TestImage::new().nothing("WORKDIR /usr/src").layer("COPY a ./ # buildkit", &[("usr/src/a", a)]);
        base.layer("RUN /bin/sh -c echo onbuild > /ran # buildkit", &[]).layer("COPY b /b # buildkit", &[("b", b"b")]).workdir("/usr/src")
    };
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Unknown), (5, Verdict::Unknown)]);
    for (content, verdict) in [(&b"new"[..], Verdict::Fresh), (b"old", Verdict::Stale)] {
        case.image(image(content));
        let report = case.check(COMMAND, &text, None);
        assert_eq!(verdicts(&report), [(3, verdict), (5, Verdict::Fresh)]);
        assert_eq!(report.notes, [""; 0], "the Dockerfile is that of the build");
        // The Dockerfile was edited since: what the log says is enough.
        case.write(&[("Dockerfile", "FROM x\nCOPY q /q\nRUN y\nRUN z\n")]);
        let report = case.check(COMMAND, &text, None);
        assert_eq!(verdicts(&report), [(3, verdict), (5, Verdict::Fresh)]);
        case.write(&[("Dockerfile", "FROM onb\nCOPY b /b\n")]);
    }
}

#[test]
fn files_that_commands_moved_are_found_by_their_content() {
    let file =
        "FROM busybox AS build\nWORKDIR /src\nCOPY . .\nRUN mkdir dist && cp a b dist\nFROM scratch\nCOPY --from=build /src/dist /www\n";
    let mut case = Case::new(&[("Dockerfile", file), IGNORE, ("a", "old a"), ("b", "b"), ("c", "c"), ("twin", "one"), ("other", "two")]);
    let first = case.git(&["rev-parse", "HEAD"]);
    case.write(&[("a", "new a"), ("other", "one")]);
    case.commit();
    let steps = [
        "[build 2/4] WORKDIR /src",
        "[build 3/4] COPY . .",
        "[build 4/4] RUN mkdir dist && cp a b dist",
        "[stage-1 1/1] COPY --from=build /src/dist /www",
    ];
    let text = cached(&case, &steps);
    let start_anew = |case: &Case| {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = Some(RunRef { run: None, commit: Some(first.clone()) });
    };
    let image = |files: &[(&str, &[u8])]| TestImage::new().layer("COPY /src/dist /www # buildkit", files);
    let mut judge = |files: &[(&str, &[u8])]| {
        start_anew(&case);
        case.image(image(files));
        let report = case.check(COMMAND, &text, None);
        report.steps.iter().map(|step| (step.index, step.verdict)).collect::<Vec<_>>()
    };
    // Of `other` nothing is seen: it has the content of another file.
    assert_eq!(judge(&[("www/a", b"new a"), ("www/b", b"b")])[0], (4, Verdict::Suspect));
    assert_eq!(judge(&[("www/a", b"old a"), ("www/b", b"b")]), [(4, Verdict::Stale), (6, Verdict::Stale)]);
    // Under another name it may be anything.
    assert_eq!(judge(&[("www/x", b"old a"), ("www/b", b"b")])[0], (4, Verdict::Suspect));
    // A version that was published comes back as a dependency; the new one too.
    assert_eq!(judge(&[("www/node_modules/a", b"old a"), ("www/b", b"b")])[0], (4, Verdict::Suspect));
    assert_eq!(judge(&[("www/node_modules/a", b"new a"), ("www/other", b"two")])[0], (4, Verdict::Stale));
    // What is now the content of another file is no old version.
    assert_eq!(judge(&[("www/other", b"two"), ("www/a", b"new a")]), [(4, Verdict::Stale), (6, Verdict::Stale)]);
    assert_eq!(judge(&[("www/other", b"c"), ("www/a", b"new a")])[0], (4, Verdict::Suspect));
}

#[test]
fn what_a_bind_mount_gave_is_found_in_the_layer() {
    let mut case = Case::new(&[("Dockerfile", "FROM busybox\nRUN --mount=type=bind,target=/c cp /c/a /a2\n"), IGNORE, ("a", "old a")]);
    case.write(&[("a", "new a")]);
    case.commit();
    let first = case.git(&["rev-parse", "HEAD~1"]);
    let text = cached(&case, &["[2/2] RUN --mount=type=bind,target=/c cp /c/a /a2"]);
    let image = |path: &str, content: &[u8]| TestImage::new().layer("RUN /bin/sh -c cp /c/a /a2 # buildkit", &[(path, content)]);
    for (path, content, verdict) in
        [("a2", &b"new a"[..], None), ("etc/a", b"old a", Some(Verdict::Stale)), ("a2", b"made", Some(Verdict::Suspect))]
    {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = Some(RunRef { run: None, commit: Some(first.clone()) });
        case.image(image(path, content));
        let report = case.check(COMMAND, &text, None);
        assert_eq!(report.steps.first().map(|step| step.verdict), verdict, "{path} {:?}", report.steps);
    }
}

#[test]
fn a_squashed_image_leaves_in_doubt_what_it_does_not_show() {
    let mut case = Case::new(&[("Dockerfile", "FROM busybox\nCOPY . /app\nRUN x\n"), IGNORE, ("a", "old a"), ("b", "b")]);
    let first = case.git(&["rev-parse", "HEAD"]);
    case.write(&[("a", "new a")]);
    case.commit();
    let text = cached(&case, &["[2/3] COPY . /app", "[3/3] RUN x"]);
    let squashed = |files: &[(&str, &[u8])]| TestImage::new().nothing("COPY . /app # buildkit").nothing("RUN x").layer("", files);
    let dockerfile = case.dir.path().join("Dockerfile");
    let rest = [("app/b", &b"b"[..]), ("app/.dockerignore", b".git\n")];
    let dockerfile = fs::read(dockerfile).unwrap();
    for (a, verdict) in [
        (("app/a", &b"new a"[..]), Verdict::Fresh),
        (("app/a", b"old a"), Verdict::Stale),
        // A later command moved it, or made another file of it.
        (("moved/elsewhere", b"new a"), Verdict::Fresh),
        (("moved/a", b"old a"), Verdict::Stale),
        (("app/a", b"made by x"), Verdict::Suspect),
    ] {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = Some(RunRef { run: None, commit: Some(first.clone()) });
        let files = [&rest[..], &[("app/Dockerfile", &dockerfile[..]), a]].concat();
        case.image(squashed(&files));
        let report = case.check(COMMAND, &text, None);
        assert_eq!(verdicts(&report), [(3, verdict)], "{a:?} {:?}", report.steps);
    }
}

#[test]
fn what_the_image_proved_is_kept_for_the_next_build() {
    let mut case = Case::new(&[DOCKERFILE, IGNORE, ("a", "old"), ("b", "b")]);
    case.write(&[("a", "new")]);
    case.commit();
    let text = cached(&case, &["[2/2] COPY . /app"]);
    let image = |a: &[u8]| {
        let files = [("app/Dockerfile", DOCKERFILE.1.as_bytes()), ("app/.dockerignore", b".git\n"), ("app/a", a), ("app/b", b"b")];
        TestImage::new().layer("COPY . /app # buildkit", &files)
    };
    // Nothing was recorded before; the image tells what the builder has, and the same build is judged without it from then on.
    for (content, verdict) in [(&b"old"[..], Verdict::Stale), (b"new", Verdict::Fresh)] {
        case.past.copies.borrow_mut().clear();
        *case.past.last.borrow_mut() = None;
        case.image(image(content));
        assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, verdict)]);
        case.images.clear();
        let report = case.check(COMMAND, &text, None);
        assert_eq!(verdicts(&report), [(3, verdict)], "{:?}", report.steps);
    }
    // The record says that the builder has the file; the image says that it has not.
    case.past.copies.borrow_mut().clear();
    assert_eq!(verdicts(&case.build("DONE 0.1s", &["*"])), [(3, Verdict::Fresh)]);
    case.image(image(b"old"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Stale)]);
    case.images.clear();
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Stale)]);
}

#[test]
fn a_source_that_is_gone_proves_nothing() {
    let mut case = Case::new(&[("Dockerfile", "FROM busybox\nCOPY dist /app\n"), IGNORE, ("a", "a")]);
    let text = cached(&case, &["[2/2] COPY dist /app"]);
    case.image(TestImage::new().layer("COPY dist /app # buildkit", &[("app/x", b"x")]));
    let report = case.check(COMMAND, &text, None);
    assert_eq!(verdicts(&report), [(3, Verdict::Unknown)]);
    assert!(report.steps[0].because.contains("dist is not in the context now"), "{}", report.steps[0].because);
    // What git knows is compared all the same.
    case.write(&[("dist/x", "x")]);
    case.commit();
    fs::remove_file(case.dir.path().join("dist/x")).unwrap();
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Fresh)]);
}

#[test]
fn a_file_that_changed_after_the_build_is_no_witness() {
    let mut case = Case::new(&[DOCKERFILE, IGNORE, ("a", "a")]);
    case.write(&[("build.log", "the whole log")]);
    let text = cached(&case, &["[2/2] COPY . /app"]);
    let image = |a: &[u8]| {
        let files =
            [("app/Dockerfile", DOCKERFILE.1.as_bytes()), ("app/.dockerignore", b".git\n"), ("app/a", a), ("app/build.log", b"the")];
        TestImage::new().layer("COPY . /app # buildkit", &files)
    };
    case.image(image(b"a"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Fresh)]);
    case.image(image(b"?"));
    assert_eq!(verdicts(&case.check(COMMAND, &text, None)), [(3, Verdict::Stale)]);
}

#[test]
fn the_legacy_builder_names_what_it_copied_by_digest() {
    let mut case = Case::new(&[("Dockerfile", "FROM busybox\nWORKDIR /app\nCOPY a ./\n"), IGNORE, ("a", "a")]);
    let text = "Sending build context to Docker daemon  4.096kB\nStep 1/3 : FROM busybox\n ---> 0123456789ab\nStep 2/3 : WORKDIR /app\n ---> Using cache\n ---> 0123456789ac\nStep 3/3 : COPY a ./\n ---> Using cache\n ---> 0123456789ad\nSuccessfully built 0123456789ad\n";
    let image = |content: &[u8]| {
        let base = TestImage::new().layer("/bin/sh -c #(nop) ADD file:00 in / ", &[]).layer("/bin/sh -c #(nop) WORKDIR /app", &[]);
        base.layer("/bin/sh -c #(nop) COPY file:0123 in ./ ", &[("app/a", content)]).workdir("/app")
    };
    case.image(image(b"a"));
    // The log has the first digits of the image's id.
    let text = text.replace("built 0123456789ad", &format!("built {}", &image(b"a").id()["sha256:".len()..][..12]));
    let report = case.check("docker build .", &text, None);
    assert_eq!((verdicts(&report), report.notes), (vec![(3, Verdict::Fresh)], Vec::new()));
    case.image(image(b"?"));
    let report = case.check("docker build .", &text, None);
    assert_eq!(verdicts(&report), [(3, Verdict::Stale)]);
    assert!(report.notes[0].contains("may be another image"), "{:?}", report.notes);
}
