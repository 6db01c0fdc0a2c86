//! Output formats, one file each, and what they share.

#[cfg(feature = "charts")]
pub mod chart;
pub mod diff_json;
pub mod diff_markdown;
pub mod diff_words;
pub mod escape;
pub mod findings;
#[cfg(feature = "charts")]
pub mod html;
pub mod json;
mod json_step;
pub mod markdown;
pub mod savings;
pub mod text;
pub mod trend_json;
pub mod trend_markdown;
pub mod trend_words;
pub use crate::units;
pub mod weekly;

use std::io::{self, Write};

use crate::{build::Build, redact::Redacted};

/// Writes the builds of one or more logs, one after another, in one format.
pub trait BuildWriter {
    /// Says that the builds that follow are those of the log `name`.
    fn log(&mut self, name: &str, out: &mut dyn Write) -> io::Result<()>;

    /// Writes one build, from which the secrets were taken out.
    fn build(&mut self, build: &Redacted<Build>, out: &mut dyn Write) -> io::Result<()>;

    /// Writes what follows the last build.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::collect::Collector, log::Reader, redact::Redactor};

    /// A log with a secret in every place that a record keeps.
    const LOG: &str = "\
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s

#2 [2/4] RUN NPM_TOKEN=s3cret-one curl https://me:s3cret-two@example.org/x
#2 0.1 export DB_PASSWORD=s3cret-three
#2 DONE 0.1s

#3 [3/4] ADD https://u:s3cret-four@example.org/f /f
#3 DONE 0.1s

token=s3cret-five printed in between
#4 [4/4] RUN docker login -p s3cret-six
#4 ERROR: process \"/bin/sh -c docker login -p s3cret-six\" did not complete successfully: exit code: 1
------
 > [4/4] RUN docker login -p s3cret-six:
0.1 API_KEY=s3cret-seven
------
ERROR: failed to solve: process \"/bin/sh -c docker login -p s3cret-six\" did not complete successfully: exit code: 1
";

    #[test]
    fn no_secret_reaches_a_report() {
        let mut builds = Vec::new();
        let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
        reader.feed(LOG.as_bytes());
        reader.finish();
        let layout = text::Layout { width: 200, order: text::Order::Log, all: true };
        let writers: [Box<dyn BuildWriter>; 3] =
            [Box::new(text::ShowText::new(layout)), Box::new(json::ShowJson::default()), Box::new(markdown::ShowMarkdown)];
        for mut writer in writers {
            let mut out = Vec::new();
            for build in &builds {
                writer.build(&Redacted::build(build.clone(), &Redactor::default()), &mut out).unwrap();
            }
            writer.finish(&mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert!(!out.contains("s3cret"), "{out}");
            assert!(out.contains("****") || out.contains(r"\*\*\*\*"), "{out}");
        }
    }
}
