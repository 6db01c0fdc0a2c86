use super::Dockerfile;
use super::environment::{BuildOptions, Environment};
use super::steps::*;

/// A step's name in a plain log, taken apart.
struct Header {
    platform: Option<String>,
    stage: Option<String>,
    number: u32,
    total: u32,
    text: String,
}

fn header(line: &str) -> Option<Header> {
    let (index, rest) = line.strip_prefix('#')?.split_once(' ')?;
    index.parse::<u32>().ok()?;
    let (bracket, text) = rest.strip_prefix('[')?.split_once("] ")?;
    let mut words: Vec<&str> = bracket.split_whitespace().collect();
    let (number, total) = words.pop()?.split_once('/')?;
    let platform = words.first().filter(|w| w.contains('/')).map(|w| {
        // `linux/amd64->arm64` is built on the one for the other.
        match w.split_once("->") {
            Some((_, target)) => format!("linux/{target}"),
            None => (*w).to_owned(),
        }
    });
    Some(Header {
        stage: words.last().filter(|w| !w.contains('/')).map(|w| (*w).to_owned()),
        platform,
        number: number.parse().ok()?,
        total: total.parse().ok()?,
        text: text.to_owned(),
    })
}

fn read(case: &str, file: &str) -> Vec<u8> {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::read(format!("{root}/testdata/steps/{case}/{file}")).unwrap()
}

/// Finds every numbered step of a log, and checks each line found against the Dockerfile's text.
fn find_all(case: &str, args: &[(&str, &str)], contexts: &[&str]) -> Vec<(String, Agreement)> {
    let dockerfile = read(case, "Dockerfile");
    let source = String::from_utf8_lossy(&dockerfile).into_owned();
    let source: Vec<&str> = source.lines().collect();
    let file = Dockerfile::parse(&dockerfile).unwrap();
    let log = String::from_utf8_lossy(&read(case, "plain.log")).into_owned();
    let mut headers: Vec<&str> = log.split('\n').filter(|l| header(l).is_some()).collect();
    headers.sort_unstable();
    headers.dedup();
    let mut all = Vec::new();
    for line in headers {
        let Header { platform, stage, number, total, text } = header(line).unwrap();
        let options = BuildOptions {
            args: args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            contexts: contexts.iter().map(|c| (*c).to_owned()).collect(),
            platform,
            ..BuildOptions::default()
        };
        let found = find_command(&file, stage.as_deref(), number, total, &text, &options);
        let Some(found) = found else {
            panic!("{case}: nothing for {line:?}");
        };
        let written = source[found.line - 1].trim_start().to_uppercase();
        let keyword = match found.onbuild {
            true => "ONBUILD",
            false => text.split(' ').next().unwrap(),
        };
        assert!(written.starts_with(keyword), "{case}: {line:?} is {written:?}");
        all.push((text, found.agreement));
    }
    all
}

#[test]
fn steps_of_real_logs_are_found() {
    let known: &[(&str, &str)] = &[("VERSION", "1.2.3"), ("NAME", "we ird"), ("C", "\u{1b}[31mred\u{1b}[0m"), ("R", "a\rb")];
    for (case, steps) in [
        ("005-multi-stage-padded", 15),
        ("008-unnamed-stages", 8),
        ("010-copy-forms", 23),
        ("012-line-continuations", 7),
        ("013-arg-onbuild-workdir", 10),
        ("014-long-unicode-names", 9),
        ("046-multi-platform", 10),
        ("062-failing-heredoc", 2),
        ("132-dk20-multi-stage", 15),
        ("169-ansi-in-names", 4),
        ("170-secrets-missing", 2),
    ] {
        let found = find_all(case, known, &["other"]);
        assert_eq!(found.len(), steps, "{case}");
        for (text, agreement) in found {
            let expected = match text.as_str() {
                // Another build's numbers: only the image agrees.
                _ if text.starts_with("FROM ") && case.starts_with("062") => Agreement::Text,
                // The log has registry, tag and digest.
                _ if text.starts_with("FROM ") => Agreement::Template,
                // `$PATH`, which the image sets.
                "RUN echo 1.2.3 we ird default /bin:/usr/bin" => Agreement::Template,
                _ => Agreement::Exact,
            };
            assert_eq!(agreement, expected, "{case}: {text}");
        }
    }
}

#[test]
fn a_named_context_for_the_base_takes_no_number() {
    let file = Dockerfile::parse(&read("084-named-contexts", "Dockerfile")).unwrap();
    let options = BuildOptions { contexts: ["alpine:3.20".to_owned(), "src".to_owned()].into(), ..BuildOptions::default() };
    let find = |number, text| find_command(&file, Some("stage-0"), number, 3, text, &options);
    let copy = find(1, "COPY --from=src x.txt /").unwrap();
    assert_eq!((copy.line, copy.agreement), (2, Agreement::Exact));
    assert_eq!(find(2, "RUN cat /x.txt").unwrap().line, 3);
}

#[test]
fn steps_of_the_legacy_builder_count_every_instruction() {
    let file = Dockerfile::parse(&read("150-legacy", "Dockerfile")).unwrap();
    assert_eq!(find_legacy_line(&file, 1), Some(1));
    assert_eq!(find_legacy_line(&file, 4), Some(4));
    assert_eq!(find_legacy_line(&file, 6), None);
    assert_eq!(find_legacy_line(&file, 0), None);
}

fn find(text: &str, stage: Option<&str>, step: (u32, u32, &str)) -> Option<(usize, Agreement)> {
    let file = Dockerfile::parse(text.as_bytes()).unwrap();
    let found = find_command(&file, stage, step.0, step.1, step.2, &BuildOptions::default());
    found.map(|found| (found.line, found.agreement))
}

#[test]
fn what_is_not_known_lowers_the_agreement() {
    let text = "FROM a\nARG BUST=1\nRUN echo \"bust $BUST\"\nRUN echo $JAVA_HOME done\nCOPY . $HOME/x/\n";
    let at = |number, text_of_step| find(text, None, (number, 4, text_of_step));
    assert_eq!(at(2, "RUN echo \"bust 1\""), Some((3, Agreement::Exact)));
    assert_eq!(at(2, "RUN echo \"bust 17\""), Some((3, Agreement::Number)));
    assert_eq!(at(3, "RUN echo /opt/java done"), Some((4, Agreement::Template)));
    assert_eq!(at(4, "COPY . /root/x/"), Some((5, Agreement::Template)));
    // Numbers shifted by an ONBUILD of the image.
    assert_eq!(find(text, None, (3, 5, "RUN echo \"bust 1\"")), Some((3, Agreement::Text)));
    assert_eq!(at(2, "COPY x y"), None);
    assert_eq!(find(text, Some("nope"), (2, 4, "RUN echo \"bust 1\"")), Some((3, Agreement::Exact)));
}

#[test]
fn names_of_heredocs_and_secrets() {
    let text = "FROM a\nRUN <<EOF\n\n  first\nsecond\nEOF\nRUN cat <<EOF\nx\nEOF\nRUN --mount=type=secret,id=k,env=KEY echo $KEY\nCOPY [\"a b\", \"/c\"]\n";
    let file = Dockerfile::parse(text.as_bytes()).unwrap();
    let options = BuildOptions::default();
    let index = StepIndex::new(&Environment::new(&file, &options));
    let names: Vec<_> = index.steps(0).iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["FROM a", "RUN <<EOF (first...)", "RUN cat <<EOF", "RUN --mount=type=secret,id=k,env=KEY echo ****", "COPY [a b, /c]",]
    );
}
