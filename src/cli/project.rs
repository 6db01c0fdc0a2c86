//! What the project is called.

use std::path::Path;

/// The project: the flag, else the name of the repository's directory.
pub(super) fn project(flag: Option<&str>, cwd: &Path) -> String {
    if let Some(project) = flag.filter(|project| !project.is_empty()) {
        return project.to_owned();
    }
    let repository = cwd.ancestors().find(|directory| directory.join(".git").exists()).unwrap_or(cwd);
    repository.file_name().map_or_else(|| "default".to_owned(), |name| name.to_string_lossy().into_owned())
}
