//! `bklog lint`.

use std::{
    collections::HashSet,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::Args;

use super::{
    error::CliError,
    fixing,
    reporting::{CheckFormat, LintReportArgs, known, locate, today},
};
use crate::{
    evidence::repository::Repository,
    nearest::nearest,
    policy::Policy,
    redact::Redactor,
    report::{findings::CheckReport, units},
    rules::{self, FileFacts, judge_files},
};

/// Say what will make the builds of a repository stale or slow, before it builds
///
/// Reads Dockerfiles, compose and bake files, and the docker calls of shell scripts, Makefiles, Jenkinsfiles and CI files. Nothing is
/// executed. What git ignores, node_modules, target and vendor are left out.
#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// The repository, or one file of it
    #[arg(value_name = "DIR", default_value = ".")]
    path: PathBuf,

    /// Mend what can be mended safely, show the diff, and report what is left
    #[arg(long)]
    fix: bool,

    /// With --fix: show the diff and change nothing. `bklog lint --fix --dry-run | git apply` does the same as --fix
    #[arg(long, requires = "fix")]
    dry_run: bool,

    #[command(flatten)]
    report: LintReportArgs,
}

/// Problems of files that are listed; more are counted.
const MOST_PROBLEMS: usize = 50;

/// Runs the command.
pub(super) fn run(args: &LintArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let read = || {
        let mut repository = Repository::read(&args.path, &cwd).map_err(|cause| CliError::Repository { path: args.path.clone(), cause })?;
        repository.check_scripts();
        Ok::<_, CliError>(repository)
    };
    let mut repository = read()?;
    if repository.nothing_is_built() && repository.problems.is_empty() {
        return Err(CliError::NothingToLint(args.path.clone()));
    }
    let policy = args.report.policy(&repository.root)?;
    let (today, known) = (today(), known(&policy)?);
    let mut findings = judge_files(&FileFacts { repository: &repository, policy: &policy }, &today, &known);
    if args.fix {
        let to_stdout = args.dry_run || args.report.format == CheckFormat::Text;
        let terminal = if to_stdout { console::Term::stdout().is_term() } else { console::Term::stderr().is_term() };
        let shown = fixing::Shown { to_stdout, terminal, color };
        let changed = fixing::run(&repository, &findings, args.dry_run, &redactor(&repository, &policy), shown)?;
        if args.dry_run {
            let report = CheckReport::of_files("", 0, findings, Vec::new(), &redactor(&repository, &policy));
            return Ok(args.report.exit_code(&report));
        }
        if changed > 0 {
            repository = read()?;
            findings = judge_files(&FileFacts { repository: &repository, policy: &policy }, &today, &known);
        }
    }
    locate(&mut findings, "", &repository.root, &cwd);
    let root = args.path.to_string_lossy();
    // A Dockerfile inside another file is no file of its own.
    let count = repository.files.iter().map(|file| file.path.as_str()).collect::<HashSet<_>>().len();
    let report = CheckReport::of_files(&root, count, findings, notes(&repository), &redactor(&repository, &policy));
    let width = super::terminal_width(&console::Term::stdout());
    let stdout = io::stdout().lock();
    let mut out: Box<dyn Write> = match args.report.format {
        CheckFormat::Text => Box::new(BufWriter::new(anstream::AutoStream::new(stdout, color))),
        _ => Box::new(BufWriter::new(stdout)),
    };
    args.report.write(&report, width, &mut out)?;
    out.flush()?;
    Ok(args.report.exit_code(&report))
}

/// What could not be read, and comments that silence nothing.
fn notes(repository: &Repository) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for problem in &repository.problems {
        let line = problem.line.map_or(String::new(), |line| format!(":{line}"));
        notes.push(format!("{}{line}: {}", problem.path, problem.message));
    }
    for file in &repository.files {
        for comment in &file.suppressions {
            for name in comment.rules.iter().filter(|name| rules::named(name).is_none()) {
                let near = nearest(name, rules::all().iter().map(|meta| meta.name));
                let near = near.map_or(String::new(), |near| format!(": did you mean {near}?"));
                notes.push(format!("{}:{}: this comment silences nothing: no rule is called {name:?}{near}", file.path, comment.line));
            }
        }
    }
    if notes.len() > MOST_PROBLEMS {
        let more = notes.len() - MOST_PROBLEMS;
        notes.truncate(MOST_PROBLEMS);
        notes.push(format!("and {}", units::count(more, "more note")));
    }
    notes
}

/// What must not be repeated: the values of arguments and variables whose names say that they are secret.
fn redactor(repository: &Repository, policy: &Policy) -> Redactor {
    let mut redactor = Redactor::new(&policy.secret_names);
    for arg in repository.images.iter().flat_map(|image| &image.target.args) {
        if let Some(value) = &arg.value {
            redactor.learn(&arg.name, value);
        }
    }
    redactor
}
