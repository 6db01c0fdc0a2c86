//! What the commands that clean up take away.

use crate::evidence::build_command::ScriptCommand;

/// What a command takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rules) enum Kind {
    /// The build cache that no image holds, and the builder's copies of contexts: `docker builder prune -f`, `docker system prune -f`.
    Builder,
    /// The whole build cache: `docker builder prune -a`, `docker system prune -a`.
    Everything,
    /// A part of the build cache: `--filter`, `--keep-storage` and the like.
    Filtered,
    /// Images, and no build cache: `docker image prune`, `docker rmi`, `docker compose down --rmi`.
    Images,
}

/// What a command takes away; `None` for any other command.
pub(in crate::rules) fn kind(command: &ScriptCommand) -> Option<Kind> {
    let (program, args) = command.program()?;
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let has = |flag: &str| args.iter().any(|word| word == flag || word.starts_with(&format!("{flag}=")));
    let short = |letter: char| args.iter().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter));
    let filtered = ["--filter", "--keep-storage", "--reserved-space", "--max-used-space", "--min-free-space"].iter().any(|flag| has(flag));
    let all = has("--all") || short('a');
    match (program, words.as_slice()) {
        ("docker", ["builder" | "buildx" | "system", "prune", ..]) | ("buildx" | "docker-buildx" | "buildctl", ["prune", ..]) => {
            Some(match (filtered, all) {
                (true, _) => Kind::Filtered,
                (false, true) => Kind::Everything,
                (false, false) => Kind::Builder,
            })
        }
        ("docker", ["rmi", ..] | ["image", "prune" | "rm", ..]) => Some(Kind::Images),
        ("docker", ["compose", "down", ..]) | ("docker-compose", ["down", ..]) if has("--rmi") => Some(Kind::Images),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::build_command::commands_in_script;

    #[test]
    fn what_is_taken_away() {
        for (text, expected) in [
            ("docker builder prune -f", Some(Kind::Builder)),
            ("sudo docker system prune --force", Some(Kind::Builder)),
            ("docker builder prune -af || true", Some(Kind::Everything)),
            ("docker buildx prune --all --force", Some(Kind::Everything)),
            ("docker builder prune -f --filter until=24h", Some(Kind::Filtered)),
            ("docker buildx prune --keep-storage=10GB", Some(Kind::Filtered)),
            ("docker image prune -af", Some(Kind::Images)),
            ("docker rmi $(docker images -q)", Some(Kind::Images)),
            ("docker compose down --rmi all", Some(Kind::Images)),
            ("docker compose down -v", None),
            ("docker volume prune -f", None),
            ("docker container prune -f", None),
            ("echo docker builder prune", None),
        ] {
            let commands = commands_in_script(text, 1);
            assert_eq!(commands.iter().rev().find_map(kind), expected, "{text}");
        }
    }
}
