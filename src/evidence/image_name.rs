//! Names of images as docker shortens them, so that one image has one name whoever wrote it.

/// The name without what docker adds by itself: the default registry, its `library/`, the tag `latest`. A digest stays.
pub fn without_defaults(name: &str) -> &str {
    let name = without_registry(name);
    name.strip_suffix(":latest").unwrap_or(name)
}

/// The short form of a name: [`without_defaults`], and without the digest.
pub fn short(name: &str) -> &str {
    without_defaults(without_digest(name))
}

/// The short form with a tag always, also where that is `latest`.
pub fn tagged(name: &str) -> String {
    let name = without_registry(without_digest(name));
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag { name.to_owned() } else { format!("{name}:latest") }
}

fn without_digest(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn without_registry(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for (name, full) in
            [("base", "base:latest"), ("docker.io/library/base:1", "base:1"), ("h:5000/x", "h:5000/x:latest"), ("x@sha256:0", "x:latest")]
        {
            assert_eq!(tagged(name), full);
        }
        for (name, brief) in [
            ("docker.io/library/base:latest", "base"),
            ("h:5000/x:latest@sha256:0", "h:5000/x"),
            ("docker.io/a/b:1", "a/b:1"),
            ("library/base", "base"),
        ] {
            assert_eq!(short(name), brief);
        }
        assert_eq!(without_defaults("docker.io/library/base@sha256:0"), "base@sha256:0");
    }
}
