use super::testing::{TestImage, gzip, layout, save, tar};
use super::*;

fn git(content: &[u8]) -> String {
    FileId::of(content, content.len() as u64).unwrap().git()
}

fn held(image: &Image, up_to: usize, path: &str) -> Option<String> {
    image.file(up_to, path).unwrap().map(|id| id.git())
}

fn sample() -> TestImage {
    let first = gzip(&tar(&[
        ("./app/a", b"one"),
        ("app/d/x", b"x"),
        ("app/d/y", b"y"),
        ("lib -> usr/lib", b""),
        ("usr/lib/so -> ../lib64/so", b""),
        ("usr/lib64/so", b"so"),
        ("app/again => app/a", b""),
    ]));
    let second = zstd::encode_all(&*tar(&[("app/b", b"two"), ("app/.wh.a", b""), ("app/d/.wh..wh..opq", b"")]), 1).unwrap();
    TestImage::new()
        .layer("/bin/sh -c #(nop) ADD file:0123 in / ", &[("etc/os", b"os")])
        .nothing("ENV a=b")
        .packed("COPY . /app # buildkit", first)
        .packed("COPY b /app/ # buildkit", second)
        .workdir("/app")
        .name("docker.io/library/app:latest")
}

fn check_sample(image: &Image) {
    assert_eq!(image.history.iter().map(|made| made.layer).collect::<Vec<_>>(), [Some(0), None, Some(1), Some(2)]);
    assert_eq!((image.history[0].keyword.as_str(), image.history[2].text.as_str()), ("ADD", "COPY . /app"));
    assert_eq!((image.names.as_slice(), image.workdir.as_str()), (&["app:latest".to_owned()][..], "/app"));
    assert_eq!(held(image, 1, "app/a"), Some(git(b"one")));
    assert_eq!(held(image, 1, "app/again"), Some(git(b"one")));
    assert_eq!(held(image, 1, "app/d/x"), Some(git(b"x")));
    assert_eq!(held(image, 1, "lib/so"), Some(git(b"so")));
    assert_eq!(image.entry(1, "lib").unwrap(), Some(Found::Link("usr/lib".to_owned())));
    assert_eq!(held(image, 2, "app/b"), Some(git(b"two")));
    assert_eq!(held(image, 2, "app/a"), None);
    assert_eq!(held(image, 2, "app/d/x"), None);
}

#[test]
fn a_saved_image_with_compressed_layers_links_and_whiteouts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.tar");
    save(&path, &[sample()]);
    let images = Image::read_all(&path).unwrap();
    check_sample(&images[0]);
    assert_eq!(images[0].digests, [sample().id()]);
    assert_eq!(images[0].platform.as_deref(), Some("linux/amd64"));
    // Compressed as a whole, by gzip and by zstd.
    let whole = std::fs::read(&path).unwrap();
    for compressed in [gzip(&whole), zstd::encode_all(&*whole, 1).unwrap()] {
        std::fs::write(&path, compressed).unwrap();
        check_sample(&Image::read_all(&path).unwrap()[0]);
    }
    // A layer that is needed and cannot be read is an error, not an answer; one that is not needed is not read.
    let broken = TestImage::new().packed("base", vec![1; 700]).layer("COPY a / # buildkit", &[("a", b"a")]);
    save(&path, &[broken]);
    let image = Image::read_all(&path).unwrap().remove(0);
    assert_eq!(held(&image, 1, "a"), Some(git(b"a")));
    assert!(matches!(image.file(1, "no/where"), Err(ImageError::Io { .. })));
}

#[test]
fn a_layout_gives_every_platform_and_its_digests() {
    let dir = tempfile::tempdir().unwrap();
    let arm = TestImage::new().architecture("arm64").layer("COPY . /app # buildkit", &[("app/a", b"arm")]);
    let index = layout(dir.path(), &[sample(), arm]);
    let images = Image::read_all(dir.path()).unwrap();
    assert_eq!(images.len(), 2);
    check_sample(&images[0]);
    assert_eq!(images[1].platform.as_deref(), Some("linux/arm64"));
    assert_eq!(held(&images[1], 0, "app/a"), Some(git(b"arm")));
    assert!(images.iter().all(|image| image.digests.contains(&index) && image.names == ["app:latest"]));
    assert!(images[0].digests.contains(&sample().id()));
    std::fs::write(dir.path().join("index.json"), r#"{"manifests":[{"digest":"sha256:../../x"}]}"#).unwrap();
    assert!(matches!(Image::read_all(dir.path()), Err(ImageError::Io { .. })));
}

#[test]
fn one_archive_can_hold_several_images_that_share_layers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.tar");
    let image = |name: &str, content: &[u8]| {
        TestImage::new().layer("base", &[("etc/os", b"os")]).layer("COPY a / # buildkit", &[("a", content)]).name(name)
    };
    save(&path, &[image("api:1", b"api"), image("web:1", b"web")]);
    let images = Image::read_all(&path).unwrap();
    assert_eq!(images.iter().map(|image| image.names[0].as_str()).collect::<Vec<_>>(), ["api:1", "web:1"]);
    assert!(Rc::ptr_eq(&images[0].layers[0], &images[1].layers[0]));
    assert_eq!(held(&images[1], 1, "a"), Some(git(b"web")));
    assert!(images[0].holds_blob(&git(b"api")).unwrap() && !images[0].holds_blob(&git(b"web")).unwrap());
}

#[test]
fn names_of_content_are_those_of_git() {
    assert_eq!(git(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    let id = FileId::of(&b"x"[..], 1).unwrap();
    assert_eq!(id.is(&ContentId::Git("0".repeat(64).into())), None);
}

#[test]
fn what_is_no_image_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| Image::read_all(path).unwrap_err();
    assert!(matches!(error(dir.path()), ImageError::NotAnImage(_)));
    let path = dir.path().join("x");
    std::fs::write(&path, "no archive at all ".repeat(100)).unwrap();
    assert!(matches!(error(&path), ImageError::NotAnImage(_)));
    std::fs::write(&path, tar(&[("a", b"a")])).unwrap();
    assert!(matches!(error(&path), ImageError::NotAnImage(_)));
    std::fs::write(&path, tar(&[("manifest.json", b"[]")])).unwrap();
    assert!(matches!(error(&path), ImageError::NotAnImage(_)));
    assert!(matches!(error(&dir.path().join("missing")), ImageError::Io { .. }));
    // An archive that is cut off.
    save(&path, &[sample()]);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(error(&path), ImageError::Io { .. } | ImageError::NotAnImage(_)));
}

#[test]
fn times_digests_and_contents_of_layers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.tar");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let head = format!("{commit}\n");
    let packed = format!("# pack-refs with: peeled\n{commit} refs/heads/main\n{} refs/heads/old\n", "f".repeat(40));
    let files = [
        ("l/.git/HEAD", &b"ref: refs/heads/main\n"[..]),
        ("l/.git/packed-refs", packed.as_bytes()),
        ("b.git/HEAD", b"ref: refs/heads/x\n"),
        ("b.git/refs/heads/x", head.as_bytes()),
        ("d/.git/HEAD", head.as_bytes()),
        ("e/.git/HEAD", b"ref: refs/heads/missing\n"),
        ("e/x.txt", b"text"),
    ];
    save(&path, &[TestImage::new().layer("RUN x", &files).created("2026-11-20T10:00:00.5Z")]);
    let image = Image::read_all(&path).unwrap().remove(0);
    assert_eq!(image.history[0].created.unwrap().to_string(), "2026-11-20T10:00:00.5Z");
    assert!(image.diff_id(0).unwrap().starts_with("sha256:") && image.diff_id(1).is_none());
    let clones = image.clones(0).unwrap();
    assert_eq!(clones, ["/b.git", "/d", "/l"].map(|dir| (dir.to_owned(), commit.to_owned())));
    let text = ContentId::Git(git(b"text").into());
    assert_eq!(image.with_content(0, &text).unwrap(), ["e/x.txt"]);
    assert_eq!(image.with_content(0, &ContentId::Sha256(testing::sha256(b"text").into())).unwrap(), ["e/x.txt"]);
    assert!(image.with_content(0, &ContentId::Git(git(b"other").into())).unwrap().is_empty());
    assert!(image.file_names(0).unwrap().contains("x.txt"));
    // Go's zero time, and that of builds that are to be the same each time, say nothing.
    for time in ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "yesterday"] {
        save(&path, &[TestImage::new().layer("RUN x", &[]).created(time)]);
        assert_eq!(Image::read_all(&path).unwrap()[0].history[0].created, None, "{time}");
    }
}

#[test]
fn a_layer_that_occurs_twice_is_a_link_the_other_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.tar");
    let layer = tar(&[("a", b"a")]);
    let config = serde_json::to_vec(&serde_json::json!({"history": [{"created_by": "COPY a /a"}, {"created_by": "COPY a /a"}]})).unwrap();
    let manifest = br#"[{"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"]}]"#;
    let (link, file) = (("1/layer.tar -> ../2/layer.tar", &b""[..]), ("2/layer.tar", &layer[..]));
    for both in [[link, file], [file, link]] {
        std::fs::write(&path, tar(&[both[0], both[1], ("c.json", &config), ("manifest.json", manifest)])).unwrap();
        let image = Image::read_all(&path).unwrap().remove(0);
        assert_eq!((held(&image, 0, "a"), held(&image, 1, "a")), (Some(git(b"a")), Some(git(b"a"))));
    }
}
