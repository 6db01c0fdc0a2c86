//! The parts of a step's name, typed.

use crate::log::name;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// A line of a Dockerfile: its bracket ends in `n/m`.
    Instruction,
    /// `[internal] …`, other than the transfer of the context.
    Internal,
    /// `[auth] …`: a token for a registry.
    Auth,
    /// The transfer of a build context.
    Context,
    /// `importing cache manifest from …`
    CacheImport,
    /// `exporting cache …`
    CacheExport,
    /// `exporting to …`, `importing to docker`.
    Export,
    /// Anything else.
    #[default]
    Other,
}

/// A step's name taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepName {
    /// What the step is.
    pub kind: Kind,
    /// The bake or compose target in front.
    pub target: Option<String>,
    /// The platform: `linux/arm64`, `linux/amd64->arm64`.
    pub platform: Option<String>,
    /// The stage: its name, or `stage-1`.
    pub stage: Option<String>,
    /// The place in the stage, from 1.
    pub number: Option<u32>,
    /// The number of steps of the stage.
    pub total: Option<u32>,
    /// The instruction: `COPY`; what is behind `ONBUILD` where the step has it.
    pub keyword: Option<&'static str>,
    /// True where the instruction comes from the base image's `ONBUILD`.
    pub onbuild: bool,
    /// What COPY and ADD take; URLs too, flags not.
    pub sources: Vec<String>,
    /// Where COPY and ADD put it.
    pub destination: Option<String>,
    /// `--from` of COPY: a stage, an image or a named context.
    pub from: Option<String>,
    /// The image of FROM, with its digest where it is printed.
    pub base: Option<String>,
    /// The instruction as printed, without the bracket: `COPY . /app/`.
    pub instruction: String,
}

impl StepName {
    /// Takes a name apart.
    pub fn parse(text: &str) -> Self {
        let parsed = name::parse(text.as_bytes());
        let words: Vec<String> = parsed.words.iter().map(|word| lossy(word)).collect();
        let instruction = lossy(parsed.text);
        match parsed.position {
            Some((number, total)) => Self::in_stage(words, number, total, instruction),
            None => Self::outside(words, instruction),
        }
    }

    /// The parts of a name of the legacy builder, which is the bare instruction.
    pub fn legacy(text: &str, number: u32, total: Option<u32>) -> Self {
        let mut parts = Self { kind: Kind::Instruction, number: Some(number), total, instruction: text.to_owned(), ..Self::default() };
        parts.read_instruction();
        parts
    }

    /// `[target platform stage n/m]`, each of the three optional. One word alone is the stage, unless it is a platform.
    fn in_stage(words: Vec<String>, number: u32, total: u32, instruction: String) -> Self {
        let mut parts = Self { kind: Kind::Instruction, number: Some(number), total: Some(total), instruction, ..Self::default() };
        // The order is fixed, so a word in front of a platform is the target even where the stage has no name.
        match words.iter().position(|word| name::is_platform(word.as_bytes())) {
            Some(platform) => {
                parts.target = words[..platform].first().cloned();
                parts.platform = words.get(platform).cloned();
                parts.stage = words.get(platform + 1).cloned();
            }
            None => {
                let mut words = words.into_iter().rev();
                parts.stage = words.next();
                parts.target = words.next();
            }
        }
        parts.read_instruction();
        parts
    }

    fn outside(words: Vec<String>, text: String) -> Self {
        let mut parts = Self { instruction: text, ..Self::default() };
        let mut before: Vec<String> = Vec::new();
        let mut mark = None;
        for word in words {
            match word.as_str() {
                "internal" | "auth" | "context" if mark.is_none() => mark = Some(word),
                _ if mark.is_none() => before.push(word),
                _ => {}
            }
        }
        let (platforms, others): (Vec<String>, Vec<String>) = before.into_iter().partition(|word| name::is_platform(word.as_bytes()));
        parts.platform = platforms.into_iter().next();
        parts.target = others.into_iter().next();
        let text = parts.instruction.as_str();
        parts.kind = match mark.as_deref() {
            Some("internal") if text == "load build context" => Kind::Context,
            Some("internal") => Kind::Internal,
            Some("auth") => Kind::Auth,
            Some("context") if text == "load .dockerignore" || text.starts_with("load metadata for ") => Kind::Internal,
            Some(_) => Kind::Context,
            None if text.starts_with("importing cache manifest from ") => Kind::CacheImport,
            None if text.starts_with("exporting cache") => Kind::CacheExport,
            None if text.starts_with("exporting to ") || text.starts_with("importing to ") => Kind::Export,
            None => Kind::Other,
        };
        parts
    }

    fn read_instruction(&mut self) {
        let text = std::mem::take(&mut self.instruction);
        let read = name::instruction(text.as_bytes());
        self.keyword = read.keyword;
        self.onbuild = read.onbuild;
        let mut words: Vec<String> = read.words.iter().map(|word| lossy(word)).collect();
        match read.keyword {
            Some("COPY" | "ADD") => {
                self.from = read.flags.iter().find_map(|flag| flag.strip_prefix(b"--from=")).map(|from| lossy(from).trim_matches(['"', '\'']).to_owned());
                // A name that was cut (`PROGRESS_NO_TRUNC=0`) may have lost its destination.
                let cut = text.ends_with("...");
                self.destination = if words.len() > 1 && !cut { words.pop() } else { None };
                self.sources = words;
            }
            Some("FROM") => self.base = words.into_iter().next(),
            _ => {}
        }
        self.instruction = text;
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: &str) -> (Kind, [Option<String>; 3]) {
        let parts = StepName::parse(name);
        (parts.kind, [parts.target, parts.platform, parts.stage])
    }

    fn some(texts: [&str; 3]) -> [Option<String>; 3] {
        texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn targets_platforms_and_stages() {
        for (name, kind, words) in [
            ("[2/3] COPY a b", Kind::Instruction, ["", "", ""]),
            ("[builder  2/12] RUN x", Kind::Instruction, ["", "", "builder"]),
            ("[backend stage-1 6/9] COPY . /app/", Kind::Instruction, ["backend", "", "stage-1"]),
            ("[linux/arm64 3/3] RUN x", Kind::Instruction, ["", "linux/arm64", ""]),
            ("[linux/amd64->arm64 builder 2/3] RUN x", Kind::Instruction, ["", "linux/amd64->arm64", "builder"]),
            ("[x linux/arm64 one 2/2] RUN x", Kind::Instruction, ["x", "linux/arm64", "one"]),
            ("[x linux/arm64 2/2] RUN x", Kind::Instruction, ["x", "linux/arm64", ""]),
            ("[test test 1/1] FROM x", Kind::Instruction, ["test", "", "test"]),
            ("[internal 2/2] RUN x", Kind::Instruction, ["", "", "internal"]),
            ("[linux 2/2] RUN x", Kind::Instruction, ["", "", "linux"]),
            ("[internal] load build context", Kind::Context, ["", "", ""]),
            ("[backend internal] load build context", Kind::Context, ["backend", "", ""]),
            ("[linux/amd64 internal] load metadata for x", Kind::Internal, ["", "linux/amd64", ""]),
            ("[context other] load from client", Kind::Context, ["", "", ""]),
            ("[context other] load .dockerignore", Kind::Internal, ["", "", ""]),
            ("[auth] library/busybox:pull token for 127.0.0.1:8058", Kind::Auth, ["", "", ""]),
            ("[backend] resolving provenance for metadata file", Kind::Other, ["backend", "", ""]),
            ("importing cache manifest from a/b:c", Kind::CacheImport, ["", "", ""]),
            ("exporting cache to registry", Kind::CacheExport, ["", "", ""]),
            ("exporting to image", Kind::Export, ["", "", ""]),
            ("importing to docker", Kind::Export, ["", "", ""]),
            ("FROM docker.io/library/busybox:latest@sha256:00", Kind::Other, ["", "", ""]),
        ] {
            assert_eq!(parts(name), (kind, some(words)), "{name}");
        }
    }

    #[test]
    fn copies() {
        let copy = StepName::parse("[final 2/3] COPY --from=build --chown=1:1 /out /etc/conf /dst/");
        assert_eq!((copy.keyword, copy.from.as_deref(), copy.destination.as_deref()), (Some("COPY"), Some("build"), Some("/dst/")));
        assert_eq!(copy.sources, ["/out", "/etc/conf"]);
        let add = StepName::parse("[3/8] ADD http://127.0.0.1:8057/big.bin /big.bin");
        assert_eq!(add.sources, ["http://127.0.0.1:8057/big.bin"]);
        let json = StepName::parse("[2/2] COPY [a.txt, sp ace.txt, /json dir/]");
        assert_eq!(json.sources, ["a.txt", "sp ace.txt"]);
        let from = StepName::parse("[1/3] FROM docker.io/library/alpine:3.20@sha256:f2");
        assert_eq!(from.base.as_deref(), Some("docker.io/library/alpine:3.20@sha256:f2"));
        assert_eq!(StepName::parse("[1/3] ONBUILD COPY a /b").onbuild, true);
    }
}
