//! The parts of a step's name, typed.

use crate::log::{name, text as text_of};

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
    /// Bytes of the bracket and the blank behind it.
    pub bracket_bytes: usize,
}

impl StepName {
    /// Takes a name apart.
    pub fn parse(text: &str) -> Self {
        let parsed = name::parse(text.as_bytes());
        let mut parts = Self { bracket_bytes: text.len() - parsed.text.len(), ..Self::default() };
        match parsed.position {
            Some((number, total)) => {
                (parts.kind, parts.number, parts.total) = (Kind::Instruction, Some(number), Some(total));
                parts.read_stage(&parsed.words);
                parts.read_instruction(parsed.text);
            }
            None => parts.read_outside(&parsed.words, parsed.text),
        }
        parts
    }

    /// The parts of a name of the legacy builder, which is the bare instruction.
    pub fn legacy(text: &str, number: u32, total: Option<u32>) -> Self {
        let mut parts = Self { kind: Kind::Instruction, number: Some(number), total, ..Self::default() };
        parts.read_instruction(text.as_bytes());
        parts
    }

    /// `[target platform stage n/m]`, each of the three optional. One word alone is the stage, unless it is a platform.
    fn read_stage(&mut self, words: &[&[u8]]) {
        let word = |at: usize| words.get(at).map(|word| text_of(word));
        // The order is fixed, so a word in front of a platform is the target even where the stage has no name.
        match words.iter().position(|word| name::is_platform(word)) {
            Some(platform) => {
                self.target = word(0).filter(|_| platform > 0);
                self.platform = word(platform);
                self.stage = word(platform + 1);
            }
            None => {
                self.stage = words.last().map(|word| text_of(word));
                self.target = word(0).filter(|_| words.len() > 1);
            }
        }
    }

    fn read_outside(&mut self, words: &[&[u8]], text: &[u8]) {
        let mark = words.iter().position(|word| matches!(*word, b"internal" | b"auth" | b"context"));
        for word in &words[..mark.unwrap_or(words.len())] {
            let field = if name::is_platform(word) { &mut self.platform } else { &mut self.target };
            *field = field.take().or_else(|| Some(text_of(word)));
        }
        self.kind = match mark.map(|mark| words[mark]) {
            Some(b"internal") if text == b"load build context" => Kind::Context,
            Some(b"internal") => Kind::Internal,
            Some(b"auth") => Kind::Auth,
            Some(_) if text == b"load .dockerignore" || text.starts_with(b"load metadata for ") => Kind::Internal,
            Some(_) => Kind::Context,
            None if text.starts_with(b"importing cache manifest from ") => Kind::CacheImport,
            None if text.starts_with(b"exporting cache") => Kind::CacheExport,
            None if text.starts_with(b"exporting to ") || text.starts_with(b"importing to ") => Kind::Export,
            None => Kind::Other,
        };
    }

    fn read_instruction(&mut self, text: &[u8]) {
        let read = name::instruction(text);
        self.keyword = read.keyword;
        self.onbuild = read.onbuild;
        match read.keyword {
            Some("COPY" | "ADD") => {
                self.from = read
                    .flags
                    .iter()
                    .find_map(|flag| flag.strip_prefix(b"--from="))
                    .map(|from| text_of(from).trim_matches(['"', '\'']).to_owned());
                let mut words = read.words.into_iter().map(|word| text_of(&word)).collect::<Vec<_>>();
                // A name that was cut (`PROGRESS_NO_TRUNC=0`) may have lost its destination.
                let cut = text.ends_with(b"...");
                self.destination = if words.len() > 1 && !cut { words.pop() } else { None };
                self.sources = words;
            }
            Some("FROM") => self.base = read.words.first().map(|word| text_of(word)),
            _ => {}
        }
    }
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
        assert!(StepName::parse("[1/3] ONBUILD COPY a /b").onbuild);
    }
}
