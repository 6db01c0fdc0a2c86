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
    // A commit that nobody knows here leaves the image without a measure.
    let report = case.check(COMMAND, &text, Some("0123456789abcdef"));
    assert_eq!(verdicts(&report), [(3, Verdict::Suspect)]);
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
    assert_eq!(verdicts(&case.check("docker build .", text, None)), [(3, Verdict::Fresh)]);
    case.image(image(b"?"));
    assert_eq!(verdicts(&case.check("docker build .", text, None)), [(3, Verdict::Stale)]);
}
