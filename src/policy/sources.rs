//! Which files are application source.
//!
//! A cached copy of a lock file is what a cache is for; a cached copy of the application's own code is a question. Manifests and lock
//! files of package managers are told by their names.

use crate::{
    evidence::{glob::SourcePattern, ignore::IgnoreRules},
    redact::names::wildcard,
};

/// Names of the files that say which dependencies are wanted, or which were chosen, in the common ecosystems; `*` stands for anything.
const MANIFESTS: &[&str] = &[
    // JavaScript
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "bun.lock",
    "bun.lockb",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    "deno.json",
    "deno.lock",
    // Python
    "requirements*.txt",
    "requirements*.in",
    "constraints*.txt",
    "*requirements.txt",
    "deps.txt",
    "dependencies.txt",
    "Pipfile",
    "Pipfile.lock",
    "poetry.lock",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "uv.lock",
    "pdm.lock",
    "environment.yml",
    "environment.yaml",
    "conda-lock.yml",
    // Go, Rust
    "go.mod",
    "go.sum",
    "go.work",
    "go.work.sum",
    "Cargo.toml",
    "Cargo.lock",
    // Java and the like
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "gradle.lockfile",
    "libs.versions.toml",
    "build.sbt",
    "deps.edn",
    "project.clj",
    // Ruby, PHP, .NET, Elixir, Swift, Dart, Haskell, Perl, R, C and C++
    "Gemfile",
    "Gemfile.lock",
    "*.gemspec",
    "composer.json",
    "composer.lock",
    "symfony.lock",
    "*.csproj",
    "*.fsproj",
    "*.vbproj",
    "*.sln",
    "*.slnx",
    "packages.lock.json",
    "packages.config",
    "Directory.Packages.props",
    "mix.exs",
    "mix.lock",
    "rebar.config",
    "rebar.lock",
    "Package.swift",
    "Package.resolved",
    "pubspec.yaml",
    "pubspec.lock",
    "stack.yaml",
    "stack.yaml.lock",
    "*.cabal",
    "cabal.project",
    "cpanfile",
    "cpanfile.snapshot",
    "renv.lock",
    "DESCRIPTION",
    "conanfile.txt",
    "conanfile.py",
    "conan.lock",
    "vcpkg.json",
];

/// Names of the settings and wrappers of the tools that read them: no application source, and nothing that names a dependency.
const TOOL_FILES: &[&str] = &[
    "lerna.json",
    "nx.json",
    "turbo.json",
    "rust-toolchain",
    "rust-toolchain.toml",
    "gradle.properties",
    "gradlew",
    "gradlew.bat",
    "gradle-wrapper.jar",
    "gradle-wrapper.properties",
    "mvnw",
    "maven-wrapper.properties",
    ".ruby-version",
    "nuget.config",
    "NuGet.Config",
    "global.json",
    "Directory.Build.props",
    "Directory.Build.targets",
    ".tool-versions",
    ".nvmrc",
    ".node-version",
    ".python-version",
    "flake.nix",
    "flake.lock",
];

/// True for a file (its path, with slashes) that says which dependencies are wanted, or which were chosen.
pub fn is_manifest(path: &str) -> bool {
    is_named(path, MANIFESTS)
}

/// True for a manifest, and for settings and wrappers of the tools that read one.
pub fn is_dependency_file(path: &str) -> bool {
    is_manifest(path) || is_named(path, TOOL_FILES)
}

fn is_named(path: &str, names: &[&str]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    names.iter().any(|pattern| wildcard(pattern.as_bytes(), name.as_bytes()))
}

/// Which files are application source.
#[derive(Debug, Default)]
pub struct Sources {
    /// Only what matches these is source; everything where it is empty.
    pub application: Option<IgnoreRules>,
    /// What matches these is a dependency manifest, besides the known names.
    pub dependencies: Option<IgnoreRules>,
}

impl Sources {
    /// True for a file (its path from the build context, with slashes) that is application source.
    pub fn is_application(&self, path: &str) -> bool {
        let path = path.trim_start_matches("./").trim_matches('/');
        if self.application.as_ref().is_some_and(|patterns| !patterns.ignores(path)) {
            return false;
        }
        !is_dependency_file(path) && !self.dependencies.as_ref().is_some_and(|patterns| patterns.ignores(path))
    }

    /// True where a COPY's source, as written, can take application source. A directory or a glob over names can; the name of a
    /// manifest, with or without a glob, cannot: `package*.json`.
    pub fn may_copy_application(&self, source: &str) -> bool {
        let source = source.trim_start_matches("./").trim_matches('/');
        if source.is_empty() || source == "." || source == "*" {
            return true;
        }
        let name = source.rsplit('/').next().unwrap_or(source);
        if name.contains(['*', '?', '[']) {
            // A glob is a manifest's if a known name fits it and it does not begin with the wildcard.
            let pattern = SourcePattern::new(name);
            return name.starts_with(['*', '?', '[']) || !MANIFESTS.iter().chain(TOOL_FILES).any(|known| pattern.matches(known));
        }
        self.is_application(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_no_application_source() {
        let sources = Sources::default();
        for path in ["package.json", "web/package-lock.json", "./requirements-dev.txt", "go.sum", "src/App/App.csproj", "Cargo.lock"] {
            assert!(!sources.is_application(path), "{path}");
        }
        for path in ["src/main.py", "shared-libs/auth.py", "main.go", "README.md", "package.json.bak"] {
            assert!(sources.is_application(path), "{path}");
        }
    }

    #[test]
    fn manifests_and_what_stands_beside_them() {
        for path in ["package.json", "a/requirements-dev.txt", "src/App/App.csproj", "uv.lock"] {
            assert!(is_manifest(path) && is_dependency_file(path), "{path}");
        }
        for path in [".nvmrc", "gradlew", "a/gradle-wrapper.jar", "rust-toolchain.toml"] {
            assert!(!is_manifest(path) && is_dependency_file(path), "{path}");
        }
        for path in ["main.go", "package.json.bak", "src"] {
            assert!(!is_dependency_file(path), "{path}");
        }
    }

    #[test]
    fn what_a_copy_may_take() {
        let sources = Sources::default();
        for source in [".", "./", "src", "shared-libs", "*", "src/*.py", "*.json", "services/auth-service"] {
            assert!(sources.may_copy_application(source), "{source}");
        }
        for source in
            ["package*.json", "./package.json", "requirements*.txt", "go.mod", "gradle/wrapper/gradle-wrapper.jar", "package-lock.js?n"]
        {
            assert!(!sources.may_copy_application(source), "{source}");
        }
    }

    #[test]
    fn patterns_of_the_settings() {
        let patterns = |text: &str| IgnoreRules::parse(text.as_bytes()).ok();
        let sources = Sources { application: patterns("src\n!src/generated\n"), dependencies: patterns("**/vendor.lst\n") };
        assert!(sources.is_application("src/a.py"));
        assert!(!sources.is_application("src/generated/a.py"));
        assert!(!sources.is_application("docs/a.md"));
        assert!(!sources.is_application("src/vendor.lst"));
    }
}
