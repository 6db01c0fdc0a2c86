//! `bust-missing`: a cache-bust argument that is declared, or required, and not passed.

use super::{
    Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, LogRule, Meta, Rule, Severity,
    bust::{self, TRUTH},
    lint::builds::{self, Once},
};

/// The rule.
#[derive(Debug)]
pub struct BustMissing;

static META: Meta = Meta {
    name: "bust-missing",
    severity: Severity::Warning,
    summary: "A cache-bust argument is declared, or required by the settings, and the build does not pass it",
    docs: Docs {
        finds: "\
A bust argument that a stage of the build declares and the command does not pass: the default is used at every build. With
`[bust] required = [\"NAME\"]` also a build that is not given NAME (an error). Without the command, from the log alone: a
`RUN echo \"Cache bust: 1\"` that shows a default.",
        matters: "\
The RUN in the Dockerfile looks as if it forced a rebuild; with the default it is cached for ever.",
        example: "\
#6 [2/6] RUN echo \"Cache bust: 1\"
#6 CACHED",
        measured: Some(
            "\
Not passing it did not make one image stale: BuildKit compares the contents of what COPY takes. It matters where the bust stands in front of
remote code (`RUN git clone`).",
        ),
        fix: "\
Pass it (`--build-arg CACHEBUST=$(date +%s)`; compose: `args`), in every script that builds this image. Or take the ARG and its RUN out.",
    },
};

impl Rule for BustMissing {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for BustMissing {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let mut once = Once::default();
        builds::each(facts, |build| {
            let Some(image) = build.image else { return };
            for arg in bust::arguments(facts.policy, build.target.name(), &build.target) {
                let name = &arg.name;
                let required = facts.policy.bust.required.contains(name);
                if build.may_pass(name) || arg.misspelled_as.is_some() || (arg.declared.is_empty() && !required) {
                    continue;
                }
                let mut draft = Draft::new(format!("{name} is not passed to the build of {}", build.name()));
                draft = draft.in_file(facts.repository.file(image.file), image.line, image.end_line);
                draft = match arg.declared.first() {
                    Some(declaration) => {
                        let default = bust::default_of(declaration.command, name);
                        let default = default.map_or("it is unset".to_owned(), |default| format!("{default:?} is used at every build"));
                        draft.evidence(format!("{}:{}: {}: {default}", build.file.path, declaration.command.line, declaration.command.text))
                    }
                    None => draft.evidence(format!("bklog.toml requires it; {} does not declare it either", build.file.path)),
                };
                let severity = if required { Severity::Error } else { Severity::Warning };
                let help = format!("--build-arg {name}=$(date +%s) (compose: args), or take the argument out; {TRUTH}");
                once.add(&META, draft.severity(severity).confidence(Confidence::Certain).help(help), out);
            }
        });
    }
}

impl LogRule for BustMissing {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let mut known = false;
            for target in &build.targets {
                let Some(source) = target.source else { continue };
                known = true;
                for arg in bust::arguments(facts.policy, build.service(), target) {
                    let required = facts.policy.bust.required.contains(&arg.name);
                    let needed = required || !arg.declared.is_empty();
                    if arg.passed.is_some() || arg.misspelled_as.is_some() || !needed {
                        continue;
                    }
                    let name = &arg.name;
                    let mut draft = Draft::new(format!("{name} is not passed to the build"));
                    if let Some(declaration) = arg.declared.first() {
                        draft = draft.at(source, declaration.command.line, declaration.command.end_line);
                        let default = bust::default_of(declaration.command, name);
                        draft = draft.evidence(
                            default
                                .map_or("it has no default: it is unset".to_owned(), |default| format!("its default is used: {default}")),
                        );
                    } else {
                        draft = draft.evidence("no stage declares it either");
                    }
                    let shown = build.commands().find(|step| {
                        build
                            .command_of(step)
                            .and_then(|(_, found)| found.command)
                            .is_some_and(|command| command.keyword == "RUN" && bust::mentions(&command.text, name))
                    });
                    draft = match shown {
                        Some(step) => draft.step(build, step).evidence(format!(
                            "log line {}: {}",
                            step.lines.0,
                            step.name.lines().next().unwrap_or_default()
                        )),
                        None => draft.build(build),
                    };
                    let severity = if required { Severity::Error } else { Severity::Warning };
                    let draft = draft.severity(severity).confidence(Confidence::Certain);
                    out.add(&META, draft.help(format!("--build-arg {name}=$(date +%s), or take the argument out; {TRUTH}")));
                }
            }
            if !known {
                for step in build.commands().filter(|step| bust::shows_default(step.instruction())) {
                    let draft =
                        Draft::new("the bust step shows a default: no value was passed").confidence(Confidence::Likely).step(build, step);
                    let draft = draft.evidence(format!("log line {}: {}", step.lines.0, step.name.lines().next().unwrap_or_default()));
                    out.add(&META, draft.help(format!("pass the argument: --build-arg NAME=$(date +%s); {TRUTH}")));
                }
            }
        }
    }
}
