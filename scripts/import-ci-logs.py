#!/usr/bin/env python3
"""Import the logs that a CI system still has into bklog's history, so that the first report has weeks to look back on.

usage: import-ci-logs.py github [--repo OWNER/NAME] [--workflow NAME] [--limit N] [-- FLAGS OF bklog record]
       import-ci-logs.py gitlab --project ID|GROUP/NAME [--job NAME] [--limit N] [-- FLAGS OF bklog record]

github asks `gh` (log in with `gh auth login`, or set GH_TOKEN); gitlab asks the API with `curl`, at GITLAB_URL [https://gitlab.com] with
GITLAB_TOKEN (read_api). Every log is recorded with the commit, branch, times and address of its job. A log that was imported before is not
recorded again, so the script may be run again at any time. BKLOG names the program [bklog], --limit how many runs are looked at [200].
Everything behind `--` goes to `bklog record`, for example `-- --project app --history .bklog/history`.
"""
import argparse, json, os, subprocess, sys, tempfile, urllib.parse

# bklog's own exit codes: 3 where a log holds no build.
NO_BUILD = 3


def ask(command, stdin=None):
    """What a program prints; its own message and an end where it fails."""
    try:
        run = subprocess.run(command, input=stdin, stdout=subprocess.PIPE)
    except FileNotFoundError:
        sys.exit(f"import-ci-logs: {command[0]} is not installed")
    return run.stdout if run.returncode == 0 else None


def github(arguments):
    """Runs of GitHub Actions with their logs."""
    repo = ["--repo", arguments.repo] if arguments.repo else []
    workflow = ["--workflow", arguments.workflow] if arguments.workflow else []
    fields = "databaseId,headSha,headBranch,startedAt,updatedAt,url,status"
    listed = ask(["gh", "run", "list", *repo, *workflow, "--limit", str(arguments.limit), "--json", fields])
    if listed is None:
        sys.exit("import-ci-logs: gh cannot list the runs; try `gh auth status`, or name the repository with --repo OWNER/NAME")
    for run in json.loads(listed):
        if run.get("status") != "completed":
            continue
        number = str(run["databaseId"])
        yield {"name": number, "commit": run.get("headSha"), "branch": run.get("headBranch"), "job-url": run.get("url"),
               "started-at": run.get("startedAt"), "log": lambda number=number: ask(["gh", "run", "view", number, *repo, "--log"])}


def gitlab(arguments):
    """Jobs of GitLab CI with their traces."""
    base = os.environ.get("GITLAB_URL", "https://gitlab.com").rstrip("/")
    project = urllib.parse.quote(arguments.project, safe="")
    token = os.environ.get("GITLAB_TOKEN", "")

    def get(path):
        # The token goes through standard input: a command line can be read by every user of the machine.
        config = f'header = "PRIVATE-TOKEN: {token}"\n'.encode() if token else b""
        return ask(["curl", "--silent", "--show-error", "--fail", "--location", "--config", "-", f"{base}/api/v4/projects/{project}/{path}"], config)

    seen, page = 0, 1
    while seen < arguments.limit:
        listed = get(f"jobs?scope[]=success&scope[]=failed&per_page=100&page={page}".replace("[]", "%5B%5D"))
        if listed is None:
            sys.exit("import-ci-logs: GitLab does not list the jobs; see GITLAB_URL, GITLAB_TOKEN (read_api) and --project")
        jobs = json.loads(listed)
        if not jobs:
            return
        for job in jobs:
            if arguments.job and job.get("name") != arguments.job:
                continue
            seen += 1
            if seen > arguments.limit:
                return
            number = str(job["id"])
            yield {"name": number, "commit": (job.get("commit") or {}).get("id"), "branch": job.get("ref"), "job-url": job.get("web_url"),
                   "started-at": job.get("started_at"), "finished-at": job.get("finished_at"),
                   "runner": (job.get("runner") or {}).get("description"), "log": lambda number=number: get(f"jobs/{number}/trace")}
        page += 1


def record(bklog, job, flags, directory):
    """Records one log; says what became of it."""
    log = job.pop("log")()
    if not log:
        return "gone"
    path = os.path.join(directory, f"{job.pop('name')}.log")
    with open(path, "wb") as file:
        file.write(log)
    known = [word for flag, value in job.items() if value for word in (f"--{flag}", value)]
    try:
        run = subprocess.run([bklog, "record", path, *known, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        sys.exit(f"import-ci-logs: {bklog} is not installed; BKLOG names it")
    finally:
        os.unlink(path)
    if run.returncode == NO_BUILD:
        return "no build"
    if run.returncode != 0:
        # Wrong flags or a broken history: the next log would fare no better.
        sys.exit(f"import-ci-logs: bklog record failed\n{run.stderr.strip()}")
    return "there" if run.stdout.startswith("0 ") else "new"


def main():
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    systems = parser.add_subparsers(dest="system", required=True)
    for name, options in (("github", ("--repo", "--workflow")), ("gitlab", ("--project", "--job"))):
        system = systems.add_parser(name)
        system.add_argument("--limit", type=int, default=200)
        for option in options:
            system.add_argument(option, required=option == "--project")
    arguments, flags = parser.parse_args(words[:at]), words[at + 1:]
    counts = {"new": 0, "there": 0, "no build": 0, "gone": 0}
    with tempfile.TemporaryDirectory() as directory:
        for job in {"github": github, "gitlab": gitlab}[arguments.system](arguments):
            name = job["name"]
            what = record(os.environ.get("BKLOG", "bklog"), job, flags, directory)
            counts[what] += 1
            print(f"{name}: {what}", file=sys.stderr)
    print(f"{counts['new']} new, {counts['there']} already there, {counts['no build']} without a build, {counts['gone']} whose log is gone")


if __name__ == "__main__":
    main()
