//! What CI systems say of the job that runs, by the environment variables that each documents.

/// What is known of a job. Whatever its system does not say is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CiJob {
    /// The system's name for people.
    pub system: &'static str,
    /// The commit that is built.
    pub commit: Option<String>,
    /// The branch; of a pull or merge request the one that is to be merged.
    pub branch: Option<String>,
    /// Where people find the job.
    pub url: Option<String>,
    /// The machine that runs it.
    pub runner: Option<String>,
}

/// The job that this process is part of; `None` outside of the systems that are known here.
pub fn job(env: &dyn Fn(&str) -> Option<String>) -> Option<CiJob> {
    let get = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let is_on = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
    let first = |names: &[&str]| names.iter().find_map(|name| get(name));
    type Reader = fn(&Variables<'_>) -> CiJob;
    let systems: [(bool, Reader); 6] = [
        (is_on("GITHUB_ACTIONS"), github),
        (is_on("GITLAB_CI"), gitlab),
        (is_on("TF_BUILD"), azure),
        (is_on("BUILDKITE"), buildkite),
        (is_on("CIRCLECI"), circle),
        (get("JENKINS_URL").is_some() && get("BUILD_NUMBER").is_some(), jenkins),
    ];
    let (_, read) = systems.into_iter().find(|(here, _)| *here)?;
    let mut job = read(&Variables { first: &first });
    // Buildkite says HEAD where nobody chose a commit.
    job.commit = job.commit.filter(|commit| commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Some(job)
}

struct Variables<'v> {
    first: &'v dyn Fn(&[&str]) -> Option<String>,
}

impl Variables<'_> {
    fn get(&self, names: &[&str]) -> Option<String> {
        (self.first)(names)
    }
}

/// <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>. Of a pull request GITHUB_SHA is the merge commit, which
/// is what is checked out and built.
fn github(env: &Variables<'_>) -> CiJob {
    let is_tag = env.get(&["GITHUB_REF_TYPE"]).as_deref() == Some("tag");
    let branch = env.get(&["GITHUB_HEAD_REF"]).or_else(|| env.get(&["GITHUB_REF_NAME"]).filter(|_| !is_tag));
    let run = || {
        let (server, repository) = (env.get(&["GITHUB_SERVER_URL"])?, env.get(&["GITHUB_REPOSITORY"])?);
        let url = format!("{server}/{repository}/actions/runs/{}", env.get(&["GITHUB_RUN_ID"])?);
        Some(match env.get(&["GITHUB_RUN_ATTEMPT"]) {
            Some(attempt) => format!("{url}/attempts/{attempt}"),
            None => url,
        })
    };
    CiJob { system: "GitHub Actions", commit: env.get(&["GITHUB_SHA"]), branch, url: run(), runner: env.get(&["RUNNER_NAME"]) }
}

/// <https://docs.gitlab.com/ci/variables/predefined_variables/>
fn gitlab(env: &Variables<'_>) -> CiJob {
    CiJob {
        system: "GitLab CI",
        commit: env.get(&["CI_COMMIT_SHA"]),
        branch: env.get(&["CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"]),
        url: env.get(&["CI_JOB_URL", "CI_PIPELINE_URL"]),
        runner: env.get(&["CI_RUNNER_DESCRIPTION", "CI_RUNNER_ID"]),
    }
}

/// <https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables>, the git plugin and multibranch pipelines.
fn jenkins(env: &Variables<'_>) -> CiJob {
    let branch = env.get(&["CHANGE_BRANCH", "BRANCH_NAME", "GIT_LOCAL_BRANCH", "GIT_BRANCH"]);
    CiJob {
        system: "Jenkins",
        commit: env.get(&["GIT_COMMIT"]),
        branch: branch.map(|branch| branch.strip_prefix("origin/").map_or(branch.clone(), str::to_owned)),
        url: env.get(&["BUILD_URL", "JOB_URL"]),
        runner: env.get(&["NODE_NAME"]),
    }
}

/// <https://learn.microsoft.com/azure/devops/pipelines/build/variables>
fn azure(env: &Variables<'_>) -> CiJob {
    let branch = env.get(&["SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH"]);
    let branch = branch.map(|branch| branch.strip_prefix("refs/heads/").map_or(branch.clone(), str::to_owned));
    let url = || {
        let collection = env.get(&["SYSTEM_COLLECTIONURI", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI"])?;
        let (project, build) = (env.get(&["SYSTEM_TEAMPROJECT"])?, env.get(&["BUILD_BUILDID"])?);
        Some(format!("{}/{}/_build/results?buildId={build}", collection.trim_end_matches('/'), project.replace(' ', "%20")))
    };
    CiJob {
        system: "Azure Pipelines",
        commit: env.get(&["BUILD_SOURCEVERSION"]),
        branch: branch.filter(|branch| !branch.starts_with("refs/")),
        url: url(),
        runner: env.get(&["AGENT_NAME"]),
    }
}

/// <https://buildkite.com/docs/pipelines/configure/environment-variables>
fn buildkite(env: &Variables<'_>) -> CiJob {
    let url = || {
        let build = env.get(&["BUILDKITE_BUILD_URL"])?;
        Some(env.get(&["BUILDKITE_JOB_ID"]).map_or(build.clone(), |job| format!("{build}#{job}")))
    };
    CiJob {
        system: "Buildkite",
        commit: env.get(&["BUILDKITE_COMMIT"]),
        branch: env.get(&["BUILDKITE_BRANCH"]),
        url: url(),
        runner: env.get(&["BUILDKITE_AGENT_NAME"]),
    }
}

/// <https://circleci.com/docs/reference/variables/>; it does not name the machine.
fn circle(env: &Variables<'_>) -> CiJob {
    CiJob {
        system: "CircleCI",
        commit: env.get(&["CIRCLE_SHA1"]),
        branch: env.get(&["CIRCLE_BRANCH"]),
        url: env.get(&["CIRCLE_BUILD_URL"]),
        runner: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "9f2c1e4b7a0d3c5e6f8091a2b3c4d5e6f7081920";

    fn read(variables: &[(&str, &str)]) -> Option<CiJob> {
        job(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn parts(variables: &[(&str, &str)]) -> [String; 5] {
        let job = read(variables).unwrap();
        assert_eq!(job.commit.as_deref(), Some(SHA));
        let text = |text: Option<String>| text.unwrap_or_default();
        [job.system.to_owned(), text(job.commit), text(job.branch), text(job.url), text(job.runner)]
    }

    #[test]
    fn each_system_names_its_job() {
        assert_eq!(read(&[("CI", "true"), ("GITHUB_SHA", SHA)]), None);
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", SHA),
            ("GITHUB_REF_NAME", "12/merge"),
            ("GITHUB_HEAD_REF", "fix"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "a/b"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("RUNNER_NAME", "r1"),
        ];
        assert_eq!(parts(&github), ["GitHub Actions", SHA, "fix", "https://github.com/a/b/actions/runs/7/attempts/2", "r1"]);
        let gitlab = [("GITLAB_CI", "true"), ("CI_COMMIT_SHA", SHA), ("CI_COMMIT_BRANCH", "main"), ("CI_JOB_URL", "https://x/-/jobs/1")];
        assert_eq!(parts(&gitlab), ["GitLab CI", SHA, "main", "https://x/-/jobs/1", ""]);
        let jenkins = [
            ("JENKINS_URL", "https://j/"),
            ("BUILD_NUMBER", "3"),
            ("GIT_COMMIT", SHA),
            ("GIT_BRANCH", "origin/main"),
            ("BUILD_URL", "https://j/job/3/"),
            ("NODE_NAME", "built-in"),
        ];
        assert_eq!(parts(&jenkins), ["Jenkins", SHA, "main", "https://j/job/3/", "built-in"]);
        let azure = [
            ("TF_BUILD", "True"),
            ("BUILD_SOURCEVERSION", SHA),
            ("BUILD_SOURCEBRANCH", "refs/heads/feature/x"),
            ("SYSTEM_COLLECTIONURI", "https://dev.azure.com/org/"),
            ("SYSTEM_TEAMPROJECT", "my app"),
            ("BUILD_BUILDID", "42"),
            ("AGENT_NAME", "Azure Pipelines 4"),
        ];
        let url = "https://dev.azure.com/org/my%20app/_build/results?buildId=42";
        assert_eq!(parts(&azure), ["Azure Pipelines", SHA, "feature/x", url, "Azure Pipelines 4"]);
        let buildkite = [
            ("BUILDKITE", "true"),
            ("BUILDKITE_COMMIT", SHA),
            ("BUILDKITE_BRANCH", "main"),
            ("BUILDKITE_BUILD_URL", "https://buildkite.com/o/p/builds/1"),
            ("BUILDKITE_JOB_ID", "j"),
            ("BUILDKITE_AGENT_NAME", "agent-1"),
        ];
        assert_eq!(parts(&buildkite), ["Buildkite", SHA, "main", "https://buildkite.com/o/p/builds/1#j", "agent-1"]);
        let circle =
            [("CIRCLECI", "true"), ("CIRCLE_SHA1", SHA), ("CIRCLE_BRANCH", "main"), ("CIRCLE_BUILD_URL", "https://circleci.com/1")];
        assert_eq!(parts(&circle), ["CircleCI", SHA, "main", "https://circleci.com/1", ""]);
    }

    #[test]
    fn no_commit_and_no_branch_where_there_is_none() {
        assert_eq!(read(&[("BUILDKITE", "true"), ("BUILDKITE_COMMIT", "HEAD")]).unwrap().commit, None);
        assert_eq!(read(&[("GITHUB_ACTIONS", "true"), ("GITHUB_REF_NAME", "v1"), ("GITHUB_REF_TYPE", "tag")]).unwrap().branch, None);
        let pull = [("TF_BUILD", "True"), ("BUILD_SOURCEBRANCH", "refs/pull/3/merge")];
        assert_eq!(read(&pull).unwrap().branch, None);
    }
}
