use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn hcl(text: &str) -> Self {
        Self::new(&[("docker-bake.hcl", text)])
    }

    fn load(&self, options: &BakeOptions) -> Result<BakePlan, BakeError> {
        load(self.0.path(), options, &env)
    }

    fn bake(&self, targets: &[&str], set: &[&str]) -> Result<BakePlan, BakeError> {
        self.load(&BakeOptions {
            targets: targets.iter().map(|s| (*s).to_owned()).collect(),
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            ..BakeOptions::default()
        })
    }

    /// The arguments of the target `t`.
    fn args(&self) -> BTreeMap<String, Option<String>> {
        let plan = self.bake(&["t"], &[]).unwrap();
        plan.targets[0].args.iter().map(|a| (a.name.clone(), a.value.clone())).collect()
    }
}

fn env(name: &str) -> Option<String> {
    match name {
        "FROM_ENV" => Some("env".into()),
        "NUM" => Some("7".into()),
        "FLAG" => Some("1".into()),
        "LIST" => Some("x,y".into()),
        _ => None,
    }
}

fn names(plan: &BakePlan) -> Vec<&str> {
    plan.targets.iter().filter_map(|t| t.name.as_deref()).collect()
}

/// A plan as `buildx bake --print` shows it, with the fields that the record has.
fn print(plan: &BakePlan) -> Json {
    let escape = |text: &str| text.replace("${", "$${").replace("%{", "%%{");
    let source = |source: &ContextSource| match source {
        ContextSource::Dir { typed, .. } => normalize(Path::new(typed)).to_string_lossy().into_owned(),
        ContextSource::Remote(url) => url.clone(),
        ContextSource::Stdin => "-".to_owned(),
        ContextSource::Target(name) => format!("target:{name}"),
        ContextSource::Image(name) => format!("docker-image://{name}"),
        ContextSource::OciLayout(rest) => format!("oci-layout://{rest}"),
    };
    let entries = |list: &[super::super::build_target::TypedEntry]| -> Vec<Json> {
        list.iter()
            .map(|entry| {
                let mut attrs = serde_json::to_value(&entry.attrs).unwrap();
                attrs["type"] = json!(entry.kind);
                attrs
            })
            .collect()
    };
    let mut targets = serde_json::Map::new();
    for target in &plan.targets {
        let mut out = serde_json::Map::new();
        let mut put = |key: &str, value: Json| {
            let empty = value.is_null()
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty)
                || value == json!(false);
            if !empty {
                out.insert(key.to_owned(), value);
            }
        };
        put("context", json!(source(&target.context)));
        put("dockerfile", json!(target.dockerfile.as_deref().unwrap_or("Dockerfile")));
        put("dockerfile-inline", json!(target.dockerfile_inline.as_deref().map(escape)));
        put("target", json!(target.target));
        let args: BTreeMap<_, _> = target.args.iter().filter_map(|a| Some((a.name.clone(), escape(a.value.as_deref()?)))).collect();
        put("args", json!(args));
        let contexts: BTreeMap<_, _> = target.contexts.iter().map(|(k, v)| (k, source(v))).collect();
        put("contexts", json!(contexts));
        put("cache-from", json!(entries(&target.cache_from)));
        put("cache-to", json!(entries(&target.cache_to)));
        put("no-cache", json!(target.no_cache));
        put("no-cache-filter", json!(target.no_cache_filter));
        put("pull", json!(target.pull));
        put("platforms", json!(target.platforms));
        put("tags", json!(target.tags));
        targets.insert(target.name.clone().unwrap(), Json::Object(out));
    }
    let groups: BTreeMap<_, _> = plan.groups.iter().map(|(name, targets)| (name, json!({"targets": targets}))).collect();
    json!({"group": groups, "target": targets})
}

#[test]
fn buildx_makes_the_same_of_every_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/moby/bake");
    let mut cases = BTreeSet::new();
    for case in std::fs::read_dir(&root).unwrap() {
        let case = case.unwrap().path();
        if case.is_dir() {
            cases.insert(case);
        }
    }
    assert_eq!(cases.len(), 12);
    for case in cases {
        let result = load(&case, &BakeOptions::default(), &|_| None);
        let Ok(expected) = std::fs::read_to_string(case.join("expect.json")) else {
            let refused = result.expect_err(&format!("{} is refused", case.display()));
            assert!(!refused.to_string().contains('\n'), "{refused}");
            continue;
        };
        let mut expected: Json = serde_json::from_str(&expected).unwrap();
        for target in expected["target"].as_object_mut().unwrap().values_mut() {
            // What the record does not hold.
            for key in ["labels", "secret", "network", "shm-size", "entitlements", "extra-hosts"] {
                target.as_object_mut().unwrap().remove(key);
            }
        }
        assert_eq!(print(&result.unwrap()), expected, "{}", case.display());
    }
}

#[test]
fn refusals_say_where() {
    for (text, expected) in [
        ("target \"a\" {\n  context = \n}\n", "docker-bake.hcl:2"),
        ("group \"default\" { targets = [\"nope\"] }", "failed to find target nope"),
        ("target \"default\" {\n  contxt = \".\"\n}", "docker-bake.hcl:2: contxt"),
        ("target \"default\" {\n  context = NOPE\n}", "docker-bake.hcl:2: context: variable \"NOPE\" does not exist"),
        ("A = B\nB = A\ntarget \"default\" {}", "variable cycle not allowed"),
        ("target \"default\" { args = { A = nofunc(1) } }", "function \"nofunc\" does not exist"),
        ("target \"default\" { inherits = [\"x\"] }", "failed to find target x"),
        ("target \"default\" { cache-from = [\"ref=x\"] }", "type required"),
        ("target \"a.b\" {}", "cannot be a target's name"),
        ("group \"default\" {}", "needs the argument"),
        ("target \"default\" { context = \"-\" }", "context from stdin not allowed"),
        ("target \"default\" { contexts = { b = \"target:b\" } }\ntarget \"b\" { contexts = { a = \"target:default\" } }", "infinite loop"),
        (
            "variable \"V\" {\n default = \"x\"\n validation {\n condition = V == \"y\"\n error_message = \"V must be y\"\n }\n}\ntarget \"default\" {}",
            "variable V: V must be y",
        ),
        ("function \"f\" {\n params = [a]\n result = f(a)\n}\ntarget \"default\" { args = { A = f(1) } }", "too deep"),
        ("target \"default\" {\n  context = \"a\"\n  context = \"b\"\n}", "redefined attribute"),
        ("target \"default\" { name = \"x\" }", "name requires matrix"),
    ] {
        let error = Files::hcl(text).bake(&[], &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(load(empty.path(), &BakeOptions::default(), &env), Err(BakeError::NoFile(_))));
}

#[test]
fn variables_take_the_environment_by_type() {
    let args = Files::hcl(
        "variable \"FROM_ENV\" {}\nvariable \"NUM\" { default = 1 }\nvariable \"FLAG\" { default = false }\nvariable \"D\" { default = \"${NUM + 1}\" }\nvariable \"LIST\" {\n  type = list(string)\n  default = []\n}\nvariable \"NOENV\" { default = null }\nGLOBAL = \"g-${D}\"\ntarget \"t\" {\n  args = {\n    A = FROM_ENV\n    B = NUM * 2\n    C = FLAG ? \"on\" : \"off\"\n    D = GLOBAL\n    E = join(\"+\", LIST)\n    F = NOENV\n    G = timestamp()\n    H = \"x${sha256(\"a\")}\"\n    I = BAKE_CMD_CONTEXT\n  }\n}\n",
    )
    .args();
    let expected = [
        ("A", Some("env")),
        ("B", Some("14")),
        ("C", Some("on")),
        ("D", Some("g-8")),
        ("E", Some("x+y")),
        ("G", None),
        ("H", None),
        ("I", Some("cwd://")),
    ];
    assert_eq!(args, expected.map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).into());
}

#[test]
fn inheritance_follows_its_order() {
    let files = Files::new(&[
        (
            "docker-bake.hcl",
            "target \"a\" {\n  args = { X = \"a\",\n Y = \"a\" }\n  cache-from = [\"r:a\"]\n  tags = [\"a\"]\n  platforms = [\"linux/amd64\"]\n}\ntarget \"b\" {\n  args = { X = \"b\" }\n  cache-from = [\n{ type = \"gha\", scope = \"s\" }, \"r:a\"]\n  context = \"b\"\n}\ntarget \"t\" {\n  inherits = [\"a\", \"b\"]\n  args = { X = null, Z = target.a.tags[0] }\n  tags = [\"t\", \"t\", \"\"]\n  dockerfile-inline = <<-EOT\n    FROM x\n      RUN y\n    EOT\n}\n",
        ),
        ("docker-bake.override.hcl", "target \"t\" { args = { W = \"over\" } }\n"),
    ]);
    let plan = files.bake(&["t"], &[]).unwrap();
    let t = &plan.targets[0];
    let arg = |name: &str| t.arg(name);
    assert_eq!((arg("X"), arg("Y"), arg("Z"), arg("W")), (Some("b"), Some("a"), Some("a"), Some("over")));
    let lines: Vec<_> = t.args.iter().map(|a| (a.name.as_str(), a.place.as_ref().unwrap().line)).collect();
    assert_eq!(lines, [("X", 9), ("Y", 3), ("Z", 16), ("W", 1)]);
    assert_eq!(t.cache_from[1].place.as_ref().unwrap().line, 11);
    assert_eq!(t.tags, ["t"]);
    assert_eq!(t.platforms, ["linux/amd64"]);
    assert_eq!(t.cache_from.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(), ["registry", "gha"]);
    assert_eq!(t.dockerfile_inline.as_deref(), Some("FROM x\n  RUN y\n"));
    assert_eq!(t.context.local_dir(), Some(files.0.path().join("b").as_path()));
}

#[test]
fn a_matrix_makes_targets_and_a_group() {
    let text = "variable \"SERVICES\" { default = \"auth,user\" }\nfunction \"dir\" {\n  params = [s]\n  result = \"services/${s}\"\n}\ntarget \"all\" {\n  name = \"x-${s}-${v.n}\"\n  matrix = {\n    s = split(\",\", SERVICES)\n    v = [{ n = 1 }, { n = 2 }]\n  }\n  context = dir(s)\n  args = { N = v.n, WHEN = formatdate(\"YYYY-MM'T'hh\", \"2026-01-02T03:00:00Z\"), L = strlen(SERVICES) > 3 ? \"many\" : \"few\" }\n}\n";
    let files = Files::hcl(text);
    let plan = files.bake(&["all"], &[]).unwrap();
    let mut found = names(&plan);
    found.sort_unstable();
    assert_eq!(found, ["x-auth-1", "x-auth-2", "x-user-1", "x-user-2"]);
    let one = plan.targets.iter().find(|t| t.name.as_deref() == Some("x-user-2")).unwrap();
    assert_eq!(one.context.local_dir(), Some(files.0.path().join("services/user").as_path()));
    assert_eq!((one.arg("N"), one.arg("WHEN"), one.arg("L")), (Some("2"), Some("2026-01T03"), Some("many")));
    assert_eq!(names(&files.bake(&["x-auth-*"], &[]).unwrap()).len(), 2);
    assert!(matches!(files.bake(&["nope*"], &[]), Err(BakeError::NoTarget { .. })));
}

#[test]
fn compose_arguments_without_a_value_come_from_the_service() {
    let files = Files::new(&[
        (
            "compose.yaml",
            "services:\n  t:\n    build: {context: ., args: [A, B, C, FROM_ENV, D]}\n    env_file: [s.env, {path: no.env, required: false}]\n    environment: {B: own}\n",
        ),
        ("s.env", "A=file\nB=file\n"),
        (".env", "C=dot\n"),
    ]);
    let expected = [("A", "file"), ("B", "own"), ("C", "dot"), ("FROM_ENV", "env")];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(k, v)| (k.to_owned(), Some(v.to_owned()))).collect();
    assert_eq!(files.args(), expected);
    std::fs::remove_file(files.0.path().join("s.env")).unwrap();
    assert!(files.bake(&["t"], &[]).is_err());
}

#[test]
fn escapes_and_unknown_values_stay_what_they_are() {
    let json = Files::new(&[(
        "docker-bake.json",
        "{\"target\": {\"t\": {\"args\": {\"A\": \"$${x} a\\/b %%{y}\", \"B\": \"${1 + 1}\", \"C\": true, \"D\": 1.5, \"E\": null}}}}",
    )]);
    let expected = [("A", "${x} a/b %{y}"), ("B", "2"), ("C", "true"), ("D", "1.5")];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(k, v)| (k.to_owned(), Some(v.to_owned()))).collect();
    assert_eq!(json.args(), expected);
    let text = "target \"t\" {\n  args = { A = jsonencode({ a = timestamp() }), B = \"a\\nb\" }\n  dockerfile-inline = <<EOT\nARG V\nRUN echo $${V} ${upper(\"x\")}\nEOT\n}\n";
    let files = Files::hcl(text);
    assert_eq!(files.args()["A"], None);
    assert_eq!(files.args()["B"].as_deref(), Some("a\nb"));
    let plan = files.bake(&["t"], &[]).unwrap();
    assert_eq!(plan.targets[0].dockerfile_inline.as_deref(), Some("ARG V\nRUN echo ${V} X\n"));
}

#[test]
fn nothing_grows_past_measure() {
    // Functions that call one another, each in deep parentheses.
    let mut calls = String::new();
    for at in 0..80 {
        let (open, close) = ("(".repeat(40), ")".repeat(40));
        calls.push_str(&format!("function \"f{at}\" {{\n  params = [a]\n  result = {open}f{}(a){close}\n}}\n", at + 1));
    }
    calls.push_str("target \"default\" { args = { A = f0(1) } }\n");
    // Lists of lists, each a little deeper than the one before.
    let mut nested = String::from("A0 = [1]\n");
    for at in 1..5000 {
        nested.push_str(&format!("A{at} = [A{}]\n", at - 1));
    }
    nested.push_str("target \"default\" {}\n");
    let doubled = "target \"default\" { args = { A = join(\"\", [for a in range(1000) : join(\"\", [for b in range(1000) : \"xxxxxxxxxxxxxxxx\"])]) } }";
    let copied = "B = join(\"\", [for a in range(1000) : \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"])\nC = [for a in range(1000) : [for b in range(400) : B]]\ntarget \"default\" {}";
    let compared =
        "target \"default\" { args = { A = length(distinct(flatten([for a in range(300) : [for b in range(300) : \"${a}-${b}\"]]))) } }";
    for text in [calls.as_str(), nested.as_str(), doubled, copied, compared] {
        let error = Files::hcl(text).bake(&[], &[]).unwrap_err().to_string();
        assert!(error.contains("too "), "{error}");
    }
}

#[test]
fn set_overrides() {
    let files = Files::hcl("group \"default\" { targets = [\"a\", \"b\"] }\ntarget \"a\" { tags = [\"a\"] }\ntarget \"b\" {}\n");
    let plan = files
        .bake(
            &[],
            &[
                "*.args.K=v=w",
                "a.tags+=more",
                "b.context=./x",
                "a.args.FROM_ENV",
                "b.args.UNSET",
                "*.no-cache=true",
                "b.cache-from=r:1",
                "b.cache-from=r:2",
                "a.contexts.lib=../lib",
                "b.platform=linux/arm64",
                "a.dockerfile=D",
            ],
        )
        .unwrap();
    let (a, b) = (&plan.targets[0], &plan.targets[1]);
    assert_eq!((a.arg("K"), a.arg("FROM_ENV"), b.arg("UNSET")), (Some("v=w"), Some("env"), None));
    assert!(b.args.iter().all(|arg| arg.name != "UNSET"));
    assert_eq!(a.tags, ["a", "more"]);
    assert_eq!(b.context.local_dir(), Some(files.0.path().join("x").as_path()));
    assert_eq!(a.contexts["lib"].local_dir(), Some(normalize(&files.0.path().join("../lib")).as_path()));
    assert_eq!(a.dockerfile_path, Some(files.0.path().join("D")));
    assert_eq!(b.cache_from.len(), 2);
    assert!(a.no_cache && b.no_cache);
    for wrong in ["a", "a.context", "z.context=1", "a.args=1", "a.nokey=1", "a.pull=maybe"] {
        assert!(matches!(files.bake(&[], &[wrong]), Err(BakeError::Set { .. })), "{wrong}");
    }
}

#[test]
fn compose_and_bake_files_mix() {
    let files = Files::new(&[
        (
            "compose.yaml",
            "services:\n  web.app:\n    build: {context: web, args: {A: 1}}\n    environment: {B: fromservice}\n  api:\n    build:\n      context: api\n      args: [B]\n      additional_contexts: {w: \"service:web.app\"}\n      x-bake: {tags: [one, two], no-cache: true, cache-from: \"r:1 r:2\"}\n    environment: [B=fromservice]\n",
        ),
        (
            "docker-bake.json",
            "{\n\t\"//\": \"note\",\n\t\"variable\": {\"V\": {\"default\": \"x\"}},\n\t\"target\": {\n\t\t\"api\": {\"args\": {\"C\": \"${V}-${upper(V)}\"}, \"dockerfile\": \"D\"},\n\t\t\"extra\": {\"context\": \"https://h/r.git\"}\n\t}\n}\n",
        ),
    ]);
    let plan = files.bake(&[], &[]).unwrap();
    assert_eq!(plan.groups["default"], ["api", "web_app"]);
    let api = plan.targets.iter().find(|t| t.name.as_deref() == Some("api")).unwrap();
    assert_eq!((api.arg("B"), api.arg("C")), (Some("fromservice"), Some("x-X")));
    assert_eq!(api.contexts["w"], ContextSource::Target("web_app".into()));
    assert_eq!(api.dockerfile.as_deref(), Some("D"));
    assert_eq!(api.tags, ["one", "two"]);
    assert!(api.no_cache);
    assert_eq!(api.cache_from.len(), 2);
    assert_eq!(api.place.as_ref().unwrap().line, 5);
    let extra = files.bake(&["extra"], &[]).unwrap();
    assert_eq!(extra.targets[0].context, ContextSource::Remote("https://h/r.git".into()));
    // A linked target is built too.
    assert_eq!(names(&files.bake(&["api"], &[]).unwrap()), ["api", "web_app"]);
}

#[test]
fn functions_and_templates() {
    let mut text = "target \"t\" { args = {\n".to_owned();
    let cases = [
        ("\"%{ for k, v in {a = 1, b = 2} }${k}${v},%{ endfor }\"", "a1,b2,"),
        ("\"a %{ if true ~} b %{~ else }c%{ endif }\"", "a b"),
        ("join(\",\", [for s in [\"a\", \"b\"] : upper(s) if s != \"a\"])", "B"),
        ("jsonencode({ for k, v in { a = 1 } : v => k })", "{\"1\":\"a\"}"),
        ("jsonencode([1, null, true, \"x\"])", "[1,null,true,\"x\"]"),
        ("substr(\"hello\", -3, 2)", "ll"),
        ("regex_replace(\"a-b\", \"[^a-z]\", \"_\")", "a_b"),
        ("regex(\"v([0-9]+)\", \"v12\")[0]", "12"),
        ("format(\"%05d|%-3s|%.2f|%q\", 42, \"x\", 1.5, \"y\")", "00042|x  |1.50|\"y\""),
        ("try(nope.x, \"fallback\")", "fallback"),
        ("can(nope) ? \"y\" : \"n\"", "n"),
        ("basename(\"/a/b/\")", "b"),
        ("dirname(\"/a/b\")", "/a"),
        ("sanitize(\"a.b/c\")", "a_b_c"),
        ("coalesce(null, \"x\")", "x"),
        ("element([\"a\", \"b\"], 3)", "b"),
        ("[{ n = \"p\" }, { n = \"q\" }].*.n[1]", "q"),
        ("join(\",\", [{ n = [\"p\"] }, { n = [\"q\"] }][*].n[0])", "p,q"),
        ("base64decode(base64encode(\"häl\"))", "häl"),
        ("trimprefix(\"refs/heads/main\", \"refs/heads/\")", "main"),
        ("lookup({ a = \"1\" }, \"b\", \"none\")", "none"),
        ("join(\"\", setproduct([\"a\"], [\"b\", \"c\"])[1])", "ac"),
        ("3 > 2 && !false", "true"),
        ("10 / 4", "2.5"),
        ("1000000 * 3", "3000000"),
        ("convert(\"5\", number) + 1", "6"),
        ("replace(\"a/b\", \"/\", \"-\")", "a-b"),
        ("title(\"hello world\")", "Hello World"),
        ("length(concat([1], [2, 3]))", "3"),
        ("max(1, 5, 3)", "5"),
        ("\"$${x} %%{y}\"", "${x} %{y}"),
        ("merge({ a = \"1\" }, { a = \"2\" }).a", "2"),
        ("variadic(\"-\", \"a\", \"b\")", "a-b"),
    ];
    for (at, (expr, _)) in cases.iter().enumerate() {
        text.push_str(&format!("  A{at} = {expr}\n"));
    }
    text.push_str("} }\nfunction \"variadic\" {\n  params = [sep]\n  variadic_params = rest\n  result = join(sep, rest)\n}\n");
    let args = Files::hcl(&text).args();
    for (at, (expr, expected)) in cases.iter().enumerate() {
        assert_eq!(args[&format!("A{at}")].as_deref(), Some(*expected), "{expr}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_text_panics(text in "(target \"default\" \\{\n)?(args = |context = )?[ \n=\"{}\\[\\]$%a-c0-9.,()?:*!<>~]{0,50}\n?\\}?") {
        let _ = Files::hcl(&text).bake(&[], &[]);
    }

    #[test]
    fn no_json_panics(text in "\\{\"target\":\\{\"default\":\\{\"[a-c]\":[\"{}\\[\\]$a-c0-9,:. ]{0,20}\\}\\}\\}") {
        let _ = Files::new(&[("docker-bake.json", &text)]).bake(&[], &[]);
    }

    #[test]
    fn no_set_panics(set in "[a*.=+\\[\\]rgs-]{0,16}") {
        let _ = Files::hcl("target \"a\" {}").bake(&["a"], &[&set]);
    }
}
