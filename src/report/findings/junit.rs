//! JUnit XML: a test case for each step that was judged. Errors fail it, suppressed ones skip it, all else stands in its output.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{CheckReport, FindingsWriter, Scope, lines};
use crate::{
    report::escape,
    rules::{Finding, Location, Severity},
};

/// Writes a JUnit report.
#[derive(Debug, Clone, Copy, Default)]
pub struct JUnit;

/// What is known of one case.
#[derive(Default)]
struct Case<'a> {
    name: String,
    verdict: Option<String>,
    findings: Vec<&'a Finding>,
}

impl FindingsWriter for JUnit {
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
        if report.scope() != Scope::Log {
            return of_files(report, out);
        }
        let mut cases: BTreeMap<(usize, Option<u32>), Case<'_>> = BTreeMap::new();
        for verdict in report.verdicts() {
            let case = cases.entry((verdict.build, Some(verdict.index))).or_default();
            case.name = verdict.name.clone();
            case.verdict = Some(format!("{}: {}", verdict.verdict.name(), verdict.because));
        }
        for finding in report.findings() {
            let place = finding.in_log.as_ref();
            let case = cases.entry(place.map_or((0, None), |place| (place.build, place.index))).or_default();
            if case.name.is_empty() {
                case.name = place.and_then(|place| place.step.clone()).unwrap_or_else(|| "the build as a whole".to_owned());
            }
            case.findings.push(finding);
        }
        let mut suite = TestSuite::new("bklog check");
        for ((build, index), case) in cases {
            suite.add_test_case(test_case(build, index, &case));
        }
        let mut report = Report::new("bklog");
        report.add_test_suite(suite);
        report.serialize(out).map_err(io::Error::other)
    }
}

/// A test case for each file with findings; one that passes where there is none, because readers take an empty report for a lost one.
fn of_files(report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
    let mut cases: BTreeMap<&str, Case<'_>> = BTreeMap::new();
    for finding in report.findings() {
        let path = finding.location.as_ref().map_or(".", Location::path_for_programs);
        let case = cases.entry(path).or_default();
        path.clone_into(&mut case.name);
        case.findings.push(finding);
    }
    if cases.is_empty() {
        cases.entry(".").or_default().name = report.judged().0;
    }
    let mut suite = TestSuite::new("bklog lint");
    for case in cases.values() {
        let mut test = test_case(0, None, case);
        test.set_classname("bklog.lint");
        suite.add_test_case(test);
    }
    let mut report = Report::new("bklog");
    report.add_test_suite(suite);
    report.serialize(out).map_err(io::Error::other)
}

fn test_case(build: usize, index: Option<u32>, case: &Case<'_>) -> TestCase {
    let failure = case.findings.iter().find(|finding| finding.severity == Severity::Error && finding.suppressed.is_none());
    let suppressed = case.findings.iter().find(|finding| finding.severity == Severity::Error && finding.suppressed.is_some());
    let status = match (failure, suppressed) {
        (Some(finding), _) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(safe(&finding.message)).set_type(finding.rule).set_description(full(finding));
            status
        }
        (None, Some(finding)) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(safe(finding.suppressed.as_deref().unwrap_or_default())).set_type(finding.rule);
            status
        }
        (None, None) => TestCaseStatus::success(),
    };
    let name = index.map_or_else(|| case.name.clone(), |index| format!("#{index} {}", case.name));
    let mut test = TestCase::new(safe(&name), status);
    test.set_classname(format!("bklog.build-{}", build + 1));
    // GitLab and others link to it.
    if let Some(location) = failure.or(case.findings.first()).and_then(|finding| finding.location.as_ref()) {
        test.extra.insert("file".into(), safe(location.path_for_programs()).into());
    }
    let others = case.findings.iter().filter(|finding| failure.is_none_or(|failure| !std::ptr::eq(*failure, **finding)));
    let printed: Vec<String> = case.verdict.iter().map(|verdict| safe(verdict)).chain(others.map(|finding| full(finding))).collect();
    if !printed.is_empty() {
        test.set_system_out(printed.join("\n"));
    }
    test
}

fn full(finding: &Finding) -> String {
    let lines: Vec<String> = lines(finding).iter().map(|line| safe(line)).collect();
    format!("{}[{}]: {}", finding.severity.name(), finding.rule, lines.join("\n    "))
}

/// Text that XML may hold and that is one line.
fn safe(text: &str) -> String {
    escape::terminal(text).chars().filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}
