//! Commands that set or keep the modification times of files.
//!
//! The context sync takes a file for unchanged whose path, size, mode and modification time are those of the builder's copy (fsutil
//! `diff.go`). An edit or a checkout gives a file a new time; what stands here can give a changed file an old one.

use super::build_command::ScriptCommand;

/// What a command does to modification times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setter {
    /// The command in short: `touch -d`, `git restore-mtime`.
    pub what: &'static str,
    /// Which times files have afterwards.
    pub times: Times,
    /// Whether it is for many files: by `find`, `xargs`, a variable or a directory; else a few that are named.
    pub many: bool,
}

/// Which times files have afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Always the same one, whatever the files hold.
    Constant,
    /// One that the text does not tell.
    Unknown,
    /// That of another file.
    OfAnotherFile,
    /// The author's date of the last commit of each file: it stays when a commit is amended or rebased.
    AuthorDate,
    /// The second of a commit: two commits of one second have the same.
    CommitSecond,
    /// Those of the files that it copies.
    Kept,
    /// The files are not written at all where the size is the same.
    SizeOnly,
}

/// Says what a command does to modification times; `None` where it does nothing that could hide a change.
///
/// `value_of` gives the value of a variable as the script sets it. `git archive` and `tar --mtime` count when they write: what unpacks
/// the archive is another command (see [`unpacks`]).
pub fn setter(command: &ScriptCommand, value_of: &dyn Fn(&str) -> Option<String>) -> Option<Setter> {
    let (program, args) = command.program()?;
    match program {
        "touch" => touch(args, false, value_of),
        "find" | "xargs" | "parallel" | "fd" | "fdfind" | "busybox" => {
            let at = args.iter().position(|word| word == "touch" || word.ends_with("/touch"))?;
            touch(&args[at + 1..], program != "busybox", value_of)
        }
        "git" if verb(args) == Some("restore-mtime") => Some(restore_mtime(args)),
        "git-restore-mtime" => Some(restore_mtime(args)),
        "git" if verb(args) == Some("archive") => {
            let given = args.iter().find_map(|word| word.strip_prefix("--mtime="));
            let times = given.map_or(Some(Times::CommitSecond), |text| time(text, value_of, 0))?;
            Some(Setter { what: "git archive", times, many: true })
        }
        "tar" | "gtar" | "bsdtar" => {
            let at = args.iter().position(|word| word == "--mtime" || word.starts_with("--mtime="))?;
            let text = args[at].split_once('=').map(|(_, text)| text).or_else(|| args.get(at + 1).map(String::as_str))?;
            Some(Setter { what: "tar --mtime", times: time(text, value_of, 0)?, many: true })
        }
        "rsync" => {
            let long = |name: &str| args.iter().any(|word| word == name);
            let short = |flag: char| {
                args.iter().any(|word| word.len() > 1 && word.starts_with('-') && !word.starts_with("--") && word.contains(flag))
            };
            if long("--size-only") {
                return Some(Setter { what: "rsync --size-only", times: Times::SizeOnly, many: true });
            }
            let times = (long("--times") || long("--archive") || short('t') || short('a')) && !long("--no-times") && !long("--no-t");
            // With a checksum it sees what it copies, and the times are still those of the source.
            times.then_some(Setter { what: "rsync --times", times: Times::Kept, many: true })
        }
        _ => None,
    }
}

/// Whether a command unpacks a tar archive with the times that stand in it.
pub fn unpacks(command: &ScriptCommand) -> bool {
    let Some((program, args)) = command.program() else { return false };
    if !matches!(program, "tar" | "gtar" | "bsdtar") {
        return false;
    }
    let short = |flag: char| {
        // The first word may be flags without a dash: `tar xf a.tar`.
        args.iter().enumerate().any(|(at, word)| match word.strip_prefix('-') {
            Some(flags) => !flags.starts_with('-') && flags.contains(flag),
            None => at == 0 && word.contains(flag) && !word.contains(['/', '.', '=']),
        })
    };
    let long = |name: &str| args.iter().any(|word| word == name);
    // `-m` gives the time of unpacking.
    (short('x') || long("--extract") || long("--get")) && !short('m') && !long("--touch")
}

/// Whether a command gives files the time of now: what a setter before it did is undone.
pub fn renews(command: &ScriptCommand) -> bool {
    let Some((program, args)) = command.program() else { return false };
    let many = matches!(program, "find" | "xargs" | "parallel");
    let at = args.iter().position(|word| word == "touch");
    many && at.is_some_and(|at| touch(&args[at + 1..], true, &|_| None).is_none())
}

fn verb(args: &[String]) -> Option<&str> {
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-C" | "-c" | "--git-dir" | "--work-tree" => _ = words.next(),
            flag if flag.starts_with('-') => {}
            verb => return Some(verb),
        }
    }
    None
}

fn restore_mtime(args: &[String]) -> Setter {
    let commit = args.iter().any(|word| word == "--commit-time" || word == "-c");
    let times = if commit { Times::CommitSecond } else { Times::AuthorDate };
    Setter { what: "git restore-mtime", times, many: true }
}

/// `touch` with a time; `None` where it gives the time of now, or only that of the last access.
fn touch(args: &[String], many: bool, value_of: &dyn Fn(&str) -> Option<String>) -> Option<Setter> {
    let (mut access, mut modification, mut given, mut named) = (false, false, None, Vec::new());
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            match name {
                "date" => given = Some(("touch -d", value.or_else(|| words.next()).unwrap_or_default())),
                "reference" => given = Some(("touch -r", value.or_else(|| words.next()).unwrap_or_default())),
                "time" => access |= value.is_some_and(|value| matches!(value, "access" | "atime" | "use")),
                _ => {}
            }
        } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
            for (at, flag) in short.char_indices() {
                let what = match flag {
                    'a' => {
                        access = true;
                        continue;
                    }
                    'm' => {
                        modification = true;
                        continue;
                    }
                    'd' => "touch -d",
                    't' => "touch -t",
                    'r' => "touch -r",
                    _ => continue,
                };
                let rest = &short[at + 1..];
                given = Some((what, if rest.is_empty() { words.next().unwrap_or_default() } else { rest }));
                break;
            }
        } else {
            named.push(word);
        }
    }
    let (what, value) = given?;
    if access && !modification {
        return None;
    }
    let times = if what == "touch -r" { Times::OfAnotherFile } else { time(value, value_of, 0)? };
    let many = many || named.iter().any(|name| name.contains(['$', '*']) || *name == ".");
    Some(Setter { what, times, many })
}

/// Which time a text means; `None` for that of now.
fn time(text: &str, value_of: &dyn Fn(&str) -> Option<String>, depth: usize) -> Option<Times> {
    let text = text.trim().trim_matches(['"', '\'']).trim_start_matches('@');
    if text.contains("git log") || text.contains("git show") || text.contains("%ct") || text.contains("%cI") {
        return Some(if text.contains("%a") && !text.contains("%c") { Times::AuthorDate } else { Times::CommitSecond });
    }
    if let Some(inner) = text.strip_prefix("$(").or_else(|| text.strip_prefix('`'))
        && inner.trim_start().starts_with("date")
    {
        let fixed = [" -d", " --date", " -r", " --reference"].iter().any(|flag| inner.contains(flag));
        return fixed.then_some(Times::Unknown);
    }
    let name = text.strip_prefix('$').map(|rest| rest.trim_matches(['{', '}']));
    if let Some(name) = name {
        let name = name.split([':', '-', '}']).next().unwrap_or(name);
        if depth < 3
            && let Some(value) = value_of(name)
        {
            return time(&value, value_of, depth + 1);
        }
        return Some(if name.contains("COMMIT") { Times::CommitSecond } else { Times::Unknown });
    }
    if text.contains(['$', '`']) {
        return Some(Times::Unknown);
    }
    (!text.is_empty() && text != "now").then_some(Times::Constant)
}

#[cfg(test)]
mod tests {
    use super::{super::build_command::commands_in_script, *};

    fn found(script: &str) -> Option<Setter> {
        let commands = commands_in_script(script, 1);
        let value_of = |name: &str| {
            let mut all = commands.iter().flat_map(ScriptCommand::assignments);
            all.rfind(|(known, _)| known == name).map(|(_, value)| value)
        };
        commands.iter().find_map(|command| setter(command, &value_of))
    }

    #[test]
    fn what_sets_times() {
        use Times::{AuthorDate, CommitSecond, Constant, Kept, OfAnotherFile, SizeOnly, Unknown};
        for (script, times, many) in [
            ("git ls-files -z | xargs -0 touch -d @1700000000", Constant, true),
            ("SOURCE_DATE_EPOCH=0\nfind . -exec touch -h -d \"@$SOURCE_DATE_EPOCH\" {} +", Constant, true),
            (
                "export SOURCE_DATE_EPOCH=$(git log -1 --pretty=%ct)\nfind . | xargs touch --date=\"@${SOURCE_DATE_EPOCH}\"",
                CommitSecond,
                true,
            ),
            ("find . | xargs touch --no-dereference --date=\"@$SOURCE_DATE_EPOCH\"", Unknown, true),
            ("touch -cmt 198001010000 src/main.py", Constant, false),
            ("for f in *; do touch -d \"$(git log -1 --format=%cI -- $f)\" \"$f\"; done", CommitSecond, true),
            ("touch -r old.py new.py", OfAnotherFile, false),
            ("git restore-mtime", AuthorDate, true),
            ("git -C app restore-mtime --commit-time", CommitSecond, true),
            ("git archive HEAD | tar -x -C /tmp/x", CommitSecond, true),
            ("git archive --mtime=1970-01-01 HEAD", Constant, true),
            ("tar --mtime='2020-01-01' -cf a.tar .", Constant, true),
            ("rsync -a src/ build/", Kept, true),
            ("rsync -rlptD src/ build/", Kept, true),
            ("rsync -r --size-only src/ build/", SizeOnly, true),
        ] {
            let found = found(script).unwrap_or_else(|| panic!("{script}"));
            assert_eq!((found.times, found.many), (times, many), "{script}");
        }
    }

    #[test]
    fn what_does_not() {
        for script in [
            "touch src/main.py",
            "find . -type f -exec touch {} +",
            "touch -d now a",
            "touch -d \"$(date)\" a",
            "touch -a -d @0 a",
            "rsync -r src/ build/",
            "rsync -a --no-times src/ build/",
            "tar -czf a.tgz .",
            "git checkout main",
            "echo touch -d @0 a",
            "cp -r a b",
        ] {
            assert_eq!(found(script), None, "{script}");
        }
    }

    #[test]
    fn unpacking_and_renewing() {
        let one = |script: &str| commands_in_script(script, 1).remove(0);
        for script in ["tar x", "tar xf a.tar", "tar -C /x -xzf a.tgz", "tar --extract -f a", "bsdtar -xf a"] {
            assert!(unpacks(&one(script)), "{script}");
        }
        for script in ["tar cf x.tar .", "tar -xmf a", "tar -tf a", "tar --extract --touch -f a", "unzip a"] {
            assert!(!unpacks(&one(script)), "{script}");
        }
        assert!(renews(&one("find . -exec touch {} +")) && !renews(&one("find . -exec touch -d @0 {} +")) && !renews(&one("touch a")));
    }
}
