use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().cloned().unwrap_or_default();
    list.iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn check_arguments(pairs: &[(String, Option<String>)], expected: &Value, name: &str) {
    for (key, value) in pairs {
        let shown = value.as_deref().unwrap_or("<unset>");
        assert_eq!(expected[key], shown, "{name}: {key}");
    }
}

fn check_command(command: &Command, expected: &Value, name: &str) {
    let at = format!("{name}:{}", command.line);
    assert_eq!(expected["line"], command.line, "{at}");
    assert_eq!(expected["end_line"], command.end_line, "{at}");
    assert_eq!(expected["keyword"], command.keyword, "{at}");
    let heredocs: Vec<_> = command.heredocs.iter().map(|h| h.name.clone()).collect();
    assert_eq!(heredocs, texts(&expected["heredocs"]), "{at}");
    match &command.kind {
        CommandKind::Copy(copy) | CommandKind::Add(copy) => {
            assert_eq!(copy.sources, texts(&expected["sources"]), "{at}");
            assert_eq!(expected["destination"], copy.destination, "{at}");
            assert_eq!(expected["from"].as_str(), copy.from.as_deref(), "{at}");
            assert_eq!(expected["link"] == true, copy.link, "{at}");
            assert_eq!(expected["parents"] == true, copy.parents, "{at}");
            assert_eq!(copy.excludes, texts(&expected["exclude"]), "{at}");
        }
        CommandKind::Arg(pairs) => {
            assert_eq!(expected["args"].as_object().unwrap().len(), pairs.len());
            check_arguments(pairs, &expected["args"], &at);
        }
        _ => assert!(expected.get("sources").is_none(), "{at}"),
    }
}

#[test]
fn says_what_buildkit_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/moby/dockerfiles");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "Dockerfile") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = std::fs::read(format!("{}.expect.json", path.display())).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let file = match Dockerfile::parse(&std::fs::read(&path).unwrap()) {
            Ok(file) => file,
            Err(error) => {
                assert_eq!(expected["error"], error.to_string(), "{name}");
                continue;
            }
        };
        assert!(expected.get("error").is_none(), "{name}");
        assert_eq!(expected["escape"], file.escape.to_string(), "{name}");
        let stages = expected["stages"].as_array().unwrap();
        assert_eq!(stages.len(), file.stages.len(), "{name}");
        let globals: Vec<_> = file
            .global_args
            .iter()
            .flat_map(|c| match &c.kind {
                CommandKind::Arg(pairs) => pairs.clone(),
                _ => Vec::new(),
            })
            .collect();
        check_arguments(&globals, &expected["meta_args"], name);
        for (stage, expected) in file.stages.iter().zip(stages) {
            assert_eq!(expected["base"], stage.base, "{name}");
            assert_eq!(expected["name"].as_str(), stage.name.as_deref(), "{name}");
            assert_eq!(expected["platform"].as_str(), stage.platform.as_deref(), "{name}");
            assert_eq!(expected["line"], stage.line, "{name}");
            let commands = expected["commands"].as_array().cloned().unwrap_or_default();
            assert_eq!(commands.len(), stage.commands.len(), "{name}");
            for (command, expected) in stage.commands.iter().zip(&commands) {
                check_command(command, expected, name);
            }
        }
    }
    assert_eq!(seen, 21);
}

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(text.as_bytes()).unwrap()
}

fn error(text: &str) -> String {
    Dockerfile::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn suppressions_apply_to_the_next_instruction_or_the_one_around_them() {
    let file = parse(
        "FROM a\n# bklog: ignore[stale-copy] vendored\n\n# other\nCOPY . .\nRUN a \\\n  # bklog: ignore[x,y]\n  b\n# bklog: ignore\n# bklog: ignore[z]\n",
    );
    assert!(file.is_suppressed("stale-copy", 5));
    assert!(file.is_suppressed("y", 6));
    assert!(!file.is_suppressed("x", 5));
    assert_eq!(file.suppressions[0].reason, "vendored");
    assert_eq!(file.suppressions[2].applies_to, None);
    assert_eq!(file.malformed_suppressions, [9]);
}

#[test]
fn comments_in_heredocs_are_text() {
    let file = parse("FROM a\nRUN <<EOF\n# bklog: ignore[x] no\nEOF\nRUN b\n");
    assert!(file.suppressions.is_empty());
    assert_eq!(file.stages[0].commands[0].heredocs[0].content, "# bklog: ignore[x] no\n");
}

#[test]
fn tabs_go_only_with_a_dash() {
    let file = parse("FROM a\nCOPY <<-A <<B /x/\n\ta\n\tA\n\tb\nB\n");
    let heredocs = &file.stages[0].commands[0].heredocs;
    assert_eq!(heredocs[0].text(), "a\n");
    assert_eq!(heredocs[1].text(), "\tb\n");
}

#[test]
fn spans_cover_the_bytes_of_an_instruction() {
    let text = "FROM a\r\nRUN x \\\r\n y\r\nCOPY <<A /b\r\nz\r\nA\r\n";
    let file = parse(text);
    let commands = &file.stages[0].commands;
    assert_eq!(&text[commands[0].span.clone()], "RUN x \\\r\n y\r\n");
    assert_eq!(&text[commands[1].span.clone()], "COPY <<A /b\r\nz\r\nA\r\n");
    assert_eq!(commands[0].text, "RUN x  y");
}

#[test]
fn refusals_have_buildkits_words() {
    for (text, expected) in [
        ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\"),
        ("# escape=`\n# escape=`\nFROM a", "only one escape parser directive can be used"),
        ("FROM a b", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
        (
            "FROM a as 1b",
            "dockerfile parse error on line 1: invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
        ),
        ("FROM a\nCOPY --frm=x a b", "dockerfile parse error on line 2: unknown flag: --frm (did you mean from?)"),
        ("FROM a\nCOPY --link --link a b", "dockerfile parse error on line 2: duplicate flag specified: --link"),
        ("FROM a\nONBUILD ONBUILD RUN x", "dockerfile parse error on line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("FROM a\nENV x", "ENV must have two arguments"),
        ("FROM a\nCOPY a <<EOF\nEOF\n", "dockerfile parse error on line 2: COPY cannot accept a heredoc as a destination"),
    ] {
        assert_eq!(error(text), expected);
    }
    let long = format!("FROM a\nRUN {}\n", "x".repeat(70_000));
    assert_eq!(error(&long), "dockerfile line greater than max allowed size of 65535");
    assert_eq!(error(&format!("FROM a\n{}RUN x", "ONBUILD ".repeat(5_000))), "instructions are nested too deep");
}

#[test]
fn files_beyond_all_measure_are_refused() {
    for text in [vec![b'#'; 17 * 1024 * 1024], b"FROM a\n".repeat(10_001), [b"FROM a\n".to_vec(), b"RUN\n".repeat(100_000)].concat()] {
        let error = Dockerfile::parse(&text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
    }
}

#[test]
fn invalid_utf8_is_read() {
    let file = Dockerfile::parse(b"FROM a\nRUN echo \xFF\xFE\nCOPY \xC3\x28 b\n").unwrap();
    assert_eq!(file.stages[0].commands.len(), 2);
}

#[test]
fn large_files_are_read_in_linear_time() {
    // 4 MB of one continued instruction, then of many.
    let mut text = b"FROM a\nRUN a \\\n".to_vec();
    text.extend(b"  && echo something or other \\\n".repeat(130_000));
    text.extend(b" b\n");
    text.extend(b"RUN <<EOF\nx\nEOF\n".repeat(1_000));
    let file = Dockerfile::parse(&text).unwrap();
    assert_eq!(file.stages[0].commands.len(), 1_001);
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Dockerfile::parse(&bytes);
    }

    #[test]
    fn never_panics_on_near_dockerfiles(
        lines in proptest::collection::vec(
            "(FROM|COPY|RUN|ONBUILD|ARG|ENV|ADD|#|HEALTHCHECK|SHELL|EOF|)[ \t]?(--[a-z]{0,6}=?)?[ a-zA-Z=$\\\\{}\"'<\\[\\],:\\-é]{0,20}",
            0..12,
        )
    ) {
        let mut text = String::from("FROM a\n");
        text.push_str(&lines.join("\n"));
        let _ = Dockerfile::parse(text.as_bytes());
    }
}
