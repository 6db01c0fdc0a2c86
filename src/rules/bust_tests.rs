//! The rules about bust arguments, on the forms that teams really have.

use super::super::{
    EarlierRun,
    testing::{Case, log},
};

const RIGHT: &str = "FROM bb\nARG SHARED_LIBS_CACHE_BUST=1\nRUN echo \"Cache bust: $SHARED_LIBS_CACHE_BUST\"\nCOPY shared-libs /tmp/shared-libs\nRUN pip install -e /tmp/shared-libs\nWORKDIR /app\nCOPY services/auth ./\n";
const BUST: &str = "docker build --build-arg SHARED_LIBS_CACHE_BUST=1795227406 .";

fn steps(bust: &str, status: &str) -> String {
    let run = format!("[2/6] RUN echo \"Cache bust: {bust}\" | {status}");
    log(&[
        "[1/6] FROM bb | DONE 0.0s",
        &run,
        "[3/6] COPY shared-libs /tmp/shared-libs | CACHED",
        "[4/6] RUN pip install -e /tmp/shared-libs | CACHED",
        "[5/6] WORKDIR /app | CACHED",
        "[6/6] COPY services/auth ./ | DONE 0.1s",
    ])
}

fn found(case: &Case) -> Vec<(&'static str, String)> {
    case.findings().into_iter().filter(|f| f.rule.starts_with("bust")).map(|f| (f.rule, f.message)).collect()
}

#[track_caller]
fn only(case: &Case, rule: &str, words: &str) {
    let found = found(case);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, rule, "{found:?}");
    assert!(found[0].1.contains(words), "{found:?}");
}

#[test]
fn right() {
    let case = Case::new(steps("1795227406", "DONE 0.1s")).command(BUST, RIGHT);
    assert_eq!(found(&case), []);
}

#[test]
fn not_passed() {
    only(&Case::new(steps("1", "CACHED")).command("docker build .", RIGHT), "bust-missing", "SHARED_LIBS_CACHE_BUST is not passed");
    only(&Case::new(steps("1", "CACHED")), "bust-missing", "shows a default");
}

#[test]
fn misspelled() {
    let case = Case::new(steps("1", "CACHED")).command("docker build --build-arg SHARED_LIB_CACHEBUST=17 .", RIGHT);
    only(&case, "bust-ineffective", "passes SHARED_LIB_CACHEBUST, the Dockerfile declares SHARED_LIBS_CACHE_BUST");
    let finding = &case.findings().into_iter().find(|f| f.rule == "bust-ineffective").unwrap();
    assert_eq!(finding.location.as_ref().map(|l| (l.path.as_str(), l.line)), Some(("Dockerfile", 2)));
}

#[test]
fn before_from_only() {
    let file = "ARG CACHEBUST=1\nFROM bb\nRUN echo \"Build timestamp: $CACHEBUST\"\nCOPY . .\n";
    let text = log(&["[1/3] FROM bb | DONE 0.0s", "[2/3] RUN echo \"Build timestamp: $CACHEBUST\" | CACHED", "[3/3] COPY . . | CACHED"]);
    only(&Case::new(text.clone()).command("docker build --build-arg CACHEBUST=17 .", file), "bust-ineffective", "before FROM only");
    only(&Case::new(text), "bust-ineffective", "CACHEBUST is unset in the stage");
}

#[test]
fn declared_nowhere() {
    let text = log(&["[1/2] FROM bb | DONE 0.0s", "[2/2] COPY . . | DONE 0.1s"]);
    let case = Case::new(text).command("docker build --build-arg CACHEBUST=17 .", "FROM bb\nCOPY . .\n");
    only(&case, "bust-ineffective", "no stage declares it");
}

#[test]
fn overridden_by_env() {
    let file = "FROM bb\nARG CACHEBUST=1\nENV CACHEBUST=fixed\nRUN echo $CACHEBUST\nCOPY . .\n";
    let text = log(&["[1/3] FROM bb | DONE 0.0s", "[2/3] RUN echo fixed | CACHED", "[3/3] COPY . . | CACHED"]);
    only(&Case::new(text).command("docker build --build-arg CACHEBUST=17 .", file), "bust-ineffective", "ENV CACHEBUST wins");
}

#[test]
fn another_value_in_the_log() {
    only(&Case::new(steps("1", "CACHED")).command(BUST, RIGHT), "bust-ineffective", "the log shows the default 1");
    only(&Case::new(steps("1700000000", "DONE 0.1s")).command(BUST, RIGHT), "bust-ineffective", "the log shows \"1700000000\"");
}

#[test]
fn the_same_value_again() {
    let mut case = Case::new(steps("1795227406", "CACHED")).command(BUST, RIGHT);
    only(&case, "bust-ineffective", "was used before");
    case.earlier = vec![EarlierRun {
        run: "r7".to_owned(),
        args: [("SHARED_LIBS_CACHE_BUST".to_owned(), "1795227406".to_owned())].into(),
        ..EarlierRun::default()
    }];
    assert!(case.findings().iter().any(|f| f.evidence.iter().any(|line| line.contains("run r7"))));
    // The value is the commit, and the commit is the same.
    let commit = "491088b6eb3a5c94ff6418e7e3d13caf6c0e9b70";
    let command = format!("docker build --build-arg SHARED_LIBS_CACHE_BUST={commit} .");
    assert_eq!(found(&Case::new(steps(commit, "CACHED")).command(&command, RIGHT).commit(commit)), []);
}

#[test]
fn ten_services_share_one_bust() {
    let header = "#0 building with \"bk\" instance using remote driver\n\n";
    let text = format!("{header}{}{header}{}", steps("1795227406", "DONE 0.1s"), steps("1795227406", "CACHED"));
    let case = Case::new(text).command(BUST, RIGHT).command(BUST, RIGHT);
    assert_eq!(case.builds().0.len(), 2);
    assert_eq!(found(&case), []);
}

#[test]
fn unused() {
    let file = "FROM bb\nARG CACHEBUST=1\nCOPY . .\nRUN make\n";
    let text = log(&["[1/3] FROM bb | DONE 0.0s", "[2/3] COPY . . | CACHED", "[3/3] RUN make | DONE 0.1s"]);
    let case = Case::new(text).command("docker build --build-arg CACHEBUST=17 .", file);
    let found = found(&case);
    assert!(
        found.iter().any(|(rule, message)| *rule == "bust-ineffective" && message.contains("no instruction uses CACHEBUST")),
        "{found:?}"
    );
}

#[test]
fn behind_the_copy() {
    let file = "FROM bb\nCOPY . .\nARG CACHEBUST=1\nRUN echo \"Build timestamp: $CACHEBUST\"\nRUN make\n";
    let text = log(&[
        "[1/4] FROM bb | DONE 0.0s",
        "[2/4] COPY . . | CACHED",
        "[3/4] RUN echo \"Build timestamp: 17\" | DONE 0.1s",
        "[4/4] RUN make | DONE 0.1s",
    ]);
    let case = Case::new(text).command("docker build --build-arg CACHEBUST=17 .", file);
    only(&case, "bust-misplaced", "takes effect behind `COPY . .`");
    let finding = case.findings().into_iter().find(|f| f.rule == "bust-misplaced").unwrap();
    assert_eq!(finding.location.map(|l| l.line), Some(3));
}

#[test]
fn the_name_says_which_copy_is_meant() {
    let file = "FROM bb\nCOPY shared-libs /l\nARG SHARED_LIBS_CACHE_BUST=1\nRUN echo $SHARED_LIBS_CACHE_BUST\nCOPY services/auth ./\n";
    let text = log(&[
        "[1/4] FROM bb | DONE 0.0s",
        "[2/4] COPY shared-libs /l | CACHED",
        "[3/4] RUN echo 1795227406 | DONE 0.1s",
        "[4/4] COPY services/auth ./ | DONE 0.1s",
    ]);
    let severity = |file: &str, name: &str| {
        let case = Case::new(text.clone()).command(&format!("docker build --build-arg {name}=1795227406 ."), file);
        case.findings().into_iter().find(|f| f.rule == "bust-misplaced").map(|f| f.severity)
    };
    assert_eq!(severity(file, "SHARED_LIBS_CACHE_BUST"), Some(crate::rules::Severity::Warning));
    assert_eq!(severity(&file.replace("SHARED_LIBS_CACHE_BUST", "CACHEBUST"), "CACHEBUST"), Some(crate::rules::Severity::Note));
}

#[test]
fn manifests_may_stand_above() {
    let file = "FROM bb\nCOPY package*.json ./\nRUN npm ci\nARG CACHEBUST=1\nRUN echo \"Build timestamp: $CACHEBUST\"\nCOPY . .\n";
    let text = log(&[
        "[1/5] FROM bb | DONE 0.0s",
        "[2/5] COPY package*.json ./ | CACHED",
        "[3/5] RUN npm ci | CACHED",
        "[4/5] RUN echo \"Build timestamp: 17\" | DONE 0.1s",
        "[5/5] COPY . . | DONE 0.1s",
    ]);
    assert_eq!(found(&Case::new(text).command("docker build --build-arg CACHEBUST=17 .", file)), []);
}

#[test]
fn a_bust_for_remote_code_stands_where_it_should() {
    let file = "FROM bb\nCOPY . .\nARG CACHEBUST=1\nRUN echo $CACHEBUST && git clone https://h/l.git\n";
    let text = log(&["[1/3] FROM bb | DONE 0.0s", "[2/3] COPY . . | CACHED", "[3/3] RUN echo 17 && git clone https://h/l.git | DONE 0.1s"]);
    assert_eq!(found(&Case::new(text).command("docker build --build-arg CACHEBUST=17 .", file)), []);
}

#[test]
fn in_a_stage_that_is_not_built() {
    let file = "FROM bb AS dev\nARG CACHEBUST=1\nRUN echo $CACHEBUST\nFROM bb AS prod\nCOPY . .\n";
    let text = log(&["[prod 1/2] FROM bb | DONE 0.0s", "[prod 2/2] COPY . . | CACHED"]);
    only(&Case::new(text).command("docker build --target prod --build-arg CACHEBUST=17 .", file), "bust-misplaced", "does not need");
}

#[test]
fn in_another_stage_than_the_copy() {
    let file = "FROM bb AS build\nCOPY . .\nRUN make\nFROM bb\nARG CACHEBUST=1\nRUN echo $CACHEBUST\nCOPY --from=build /o /o\n";
    let text = log(&[
        "[build 1/3] FROM bb | DONE 0.0s",
        "[build 2/3] COPY . . | CACHED",
        "[build 3/3] RUN make | CACHED",
        "[stage-1 2/3] RUN echo 17 | DONE 0.1s",
        "[stage-1 3/3] COPY --from=build /o /o | DONE 0.1s",
    ]);
    only(&Case::new(text).command("docker build --build-arg CACHEBUST=17 .", file), "bust-misplaced", "in another stage than `COPY . .`");
}

#[test]
fn required_by_the_settings() {
    let text = log(&["[1/2] FROM bb | DONE 0.0s", "[2/2] COPY . . | DONE 0.1s"]);
    let case = Case::new(text).command("docker build .", "FROM bb\nCOPY . .\n").policy("[bust]\nrequired = [\"GIT_COMMIT_HASH\"]");
    only(&case, "bust-missing", "GIT_COMMIT_HASH is not passed");
}

#[test]
fn a_name_that_the_shell_sets_is_no_argument() {
    let text = log(&["[1/2] FROM bb | DONE 0.0s", "[2/2] RUN CACHEBUST=$(date) && echo $CACHEBUST | DONE 0.1s"]);
    assert_eq!(found(&Case::new(text)), []);
}

#[test]
fn a_comment_silences_a_rule() {
    let file = RIGHT.replace("ARG SHARED", "# bklog: ignore[bust-missing] set on the first of the month only\nARG SHARED");
    let case = Case::new(steps("1", "CACHED")).command("docker build .", &file);
    let finding = case.findings().into_iter().find(|f| f.rule == "bust-missing").unwrap();
    assert_eq!(finding.suppressed.as_deref(), Some("Dockerfile:2: set on the first of the month only"));
    let case = Case::new(steps("1", "CACHED"))
        .command("docker build .", RIGHT)
        .policy("[[accept]]\nrule = \"bust-missing\"\nreason = \"ok\"\nuntil = \"2026-12-01\"");
    assert_eq!(case.findings()[0].suppressed.as_deref(), Some("accepted: ok"));
    let case = Case::new(steps("1", "CACHED"))
        .command("docker build .", RIGHT)
        .policy("[[accept]]\nrule = \"bust-missing\"\nreason = \"ok\"\nuntil = \"2026-01-01\"");
    assert_eq!(case.findings()[0].suppressed, None);
    let case = Case::new(steps("1", "CACHED")).command("docker build .", RIGHT).policy("[rules]\nbust-missing = \"off\"");
    assert_eq!(found(&case), []);
}
