//! All targets and groups of the files, and how they resolve (buildx `Config`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::build_target::{Env, Place};
use super::super::compose::ComposeProject;
use super::BakeError;
use super::eval::Evaluator;
use super::syntax::{self, Block};
use super::target::{self, Overrides, Target};

/// Levels that `inherits` may nest.
const MAX_DEPTH: usize = 100;

/// All targets and groups of the files.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub groups: Vec<(String, Vec<String>)>,
    pub targets: Vec<Target>,
}

/// Refuses a name that buildx refuses (`validateTargetName`).
fn valid_name(name: &str) -> Result<(), BakeError> {
    let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if valid { Ok(()) } else { Err(BakeError::TargetName(name.to_owned())) }
}

impl Config {
    /// Turns the services that build into targets and a group `default` (buildx `bake/compose.go`).
    pub fn add_compose(&mut self, project: &ComposeProject) -> Result<(), BakeError> {
        if project.services.is_empty() {
            return Ok(());
        }
        let mut names = Vec::new();
        for build in project.services.iter().filter_map(|service| service.build.as_ref()) {
            let name = build.name.as_deref().unwrap_or_default().replace('.', "_");
            valid_name(&name)?;
            names.push(name.clone());
            self.targets.push(Target::from_compose(name, build));
        }
        self.groups.push(("default".to_owned(), names));
        Ok(())
    }

    pub fn add_hcl(&mut self, files: Vec<(PathBuf, syntax::File)>, cwd: &Path, env: &Env<'_>) -> Result<(), BakeError> {
        let mut evaluator = Evaluator::new(env);
        evaluator.builtin.insert("BAKE_CMD_CONTEXT".to_owned(), "cwd://".to_owned());
        let platform = format!("linux/{}", go_arch());
        evaluator.builtin.insert("BAKE_LOCAL_PLATFORM".to_owned(), platform);
        let mut blocks: Vec<(PathBuf, Block)> = Vec::new();
        for (file, parsed) in files {
            for attr in parsed.attrs {
                evaluator.attrs.insert(attr.name.clone(), attr);
            }
            for block in parsed.blocks {
                let reserved = evaluator.builtin.contains_key(&block.label);
                match block.kind.as_str() {
                    "variable" if !reserved => {
                        evaluator.variables.insert(block.label.clone(), block);
                    }
                    "function" if !reserved => {
                        evaluator.functions.insert(block.label.clone(), block);
                    }
                    "target" | "group" => {
                        evaluator.blocks.push(block.clone());
                        blocks.push((file.clone(), block));
                    }
                    // Other blocks are left alone (buildx pull request 541).
                    _ => {}
                }
            }
        }
        check_variables(&evaluator)?;
        let mut renamed: Vec<(String, Vec<String>)> = Vec::new();
        for (file, block) in &blocks {
            let fail = |message: String| BakeError::Eval { file: file.clone(), line: block.line, message };
            valid_name(&block.label)?;
            if block.kind == "group" {
                let targets = target::group_targets(&evaluator, block, file)?;
                match self.groups.iter_mut().find(|(name, _)| *name == block.label) {
                    Some(group) => group.1 = targets,
                    None => self.groups.push((block.label.clone(), targets)),
                }
                continue;
            }
            let mut names = Vec::new();
            for (name, locals) in evaluator.expand(block).map_err(fail)? {
                valid_name(&name)?;
                let place = Place { file: file.clone(), line: block.line };
                let target = Target::from_block(&evaluator, name.clone(), block, &locals, &place, cwd)?;
                match self.targets.iter_mut().find(|known| known.name == name) {
                    Some(known) => known.merge(&target),
                    None => self.targets.push(target),
                }
                names.push(name);
            }
            match renamed.iter_mut().find(|(label, _)| *label == block.label) {
                Some(known) => known.1.extend(names),
                None => renamed.push((block.label.clone(), names)),
            }
        }
        // A matrix makes a group of its block's own name.
        for (label, mut names) in renamed {
            let mut seen = std::collections::HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
            if names.as_slice() != [label.clone()] {
                self.groups.push((label, names));
            }
        }
        for name in evaluator.attrs.keys() {
            evaluator.resolve(name).map_err(|message| BakeError::Variable { name: name.clone(), message })?;
        }
        Ok(())
    }

    fn known_names(&self) -> String {
        let names: Vec<&str> = self
            .groups
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(self.targets.iter().map(|target| target.name.as_str()))
            .take(30)
            .collect();
        names.join(", ")
    }

    fn no_target(&self, name: &str) -> BakeError {
        BakeError::NoTarget { name: name.to_owned(), known: self.known_names() }
    }

    /// The groups and targets that a name or pattern of the command line means.
    pub fn match_names(&self, pattern: &str) -> Result<Vec<String>, BakeError> {
        if !pattern.contains(['*', '?', '[', ']']) {
            return Ok(vec![pattern.to_owned()]);
        }
        let names: Vec<String> = self
            .groups
            .iter()
            .map(|(name, _)| name)
            .chain(self.targets.iter().map(|target| &target.name))
            .filter(|name| target::matches(pattern, name))
            .cloned()
            .collect();
        if names.is_empty() { Err(self.no_target(pattern)) } else { Ok(names) }
    }

    /// The targets of a group and the groups below it; a name that is no group is a target.
    pub fn open_group(&self, name: &str) -> (Vec<String>, Vec<String>) {
        let mut targets: Vec<String> = Vec::new();
        let mut groups: Vec<String> = Vec::new();
        let mut todo = vec![name.to_owned()];
        while let Some(name) = todo.pop() {
            if groups.contains(&name) {
                continue;
            }
            match self.groups.iter().find(|(known, _)| *known == name) {
                Some((_, members)) => {
                    // A target of the group's own name is what the group means by it.
                    for member in members.iter().rev() {
                        if *member == name {
                            if !targets.contains(member) {
                                targets.push(member.clone());
                            }
                        } else {
                            todo.push(member.clone());
                        }
                    }
                    groups.push(name);
                }
                None if !targets.contains(&name) => targets.push(name),
                None => {}
            }
        }
        (targets, groups)
    }

    pub fn overrides(&self, sets: &[String], env: &Env<'_>) -> Result<Overrides, BakeError> {
        target::parse_overrides(&self.targets, sets, env).map_err(|(set, message)| BakeError::Set { set, message })
    }

    /// A target with what it inherits and what `--set` says.
    pub fn resolve(&self, name: &str, overrides: &Overrides) -> Result<Target, BakeError> {
        let mut visited: HashMap<String, Option<Target>> = HashMap::new();
        self.resolve_inner(name, overrides, &mut visited, 0)?.ok_or_else(|| self.no_target(name))
    }

    /// As buildx's `Config.target`: one that is being resolved already gives nothing.
    fn resolve_inner(
        &self,
        name: &str,
        overrides: &Overrides,
        visited: &mut HashMap<String, Option<Target>>,
        depth: usize,
    ) -> Result<Option<Target>, BakeError> {
        if let Some(known) = visited.get(name) {
            return Ok(known.clone());
        }
        if depth > MAX_DEPTH {
            return Err(BakeError::Target { name: name.to_owned(), message: "inherits nests too deep".to_owned() });
        }
        visited.insert(name.to_owned(), None);
        let own = self.targets.iter().find(|t| t.name == name).ok_or_else(|| self.no_target(name))?;
        let mut merged = Target::new(name);
        for parent in &own.inherits {
            if let Some(parent) = self.resolve_inner(parent, overrides, visited, depth + 1)? {
                merged.merge(&parent);
            }
        }
        merged.merge(own);
        if let Some(sets) = overrides.get(name) {
            for (set, apply) in sets {
                merged.apply(apply).map_err(|message| BakeError::Set { set: set.clone(), message })?;
            }
        }
        merged.normalize();
        visited.insert(name.to_owned(), Some(merged.clone()));
        Ok(Some(merged))
    }
}

/// Evaluates every variable and what validates it, and every function's form.
fn check_variables(evaluator: &Evaluator<'_>) -> Result<(), BakeError> {
    let fail = |name: &str| {
        let name = name.to_owned();
        move |message: String| BakeError::Variable { name, message }
    };
    for (name, block) in &evaluator.variables {
        evaluator.resolve(name).map_err(fail(name))?;
        for validation in block.blocks.iter().filter(|b| b.kind == "validation") {
            let attr = |key: &str| validation.attrs.iter().find(|a| a.name == key);
            let Some(condition) = attr("condition") else {
                return Err(fail(name)("a validation needs a condition".to_owned()));
            };
            let value = evaluator.eval(&condition.expr, &Vec::new()).map_err(fail(name))?;
            if !value.is_unknown() && !value.to_bool().map_err(fail(name))? {
                let message = match attr("error_message") {
                    Some(message) => {
                        let text = evaluator.eval(&message.expr, &Vec::new()).map_err(fail(name))?;
                        text.to_text().map_err(fail(name))?.unwrap_or_default()
                    }
                    None => "its validation does not hold".to_owned(),
                };
                return Err(fail(name)(message));
            }
        }
    }
    for (name, block) in &evaluator.functions {
        for key in ["params", "result"] {
            if !block.attrs.iter().any(|attr| attr.name == key) {
                return Err(fail(name)(format!("empty {key} not allowed for {name}")));
            }
        }
    }
    Ok(())
}

/// The machine's architecture as Go names it.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
