//! `RUN --mount=…` (facts: BuildKit `instructions/commands_runmount.go`).

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while};
use nom::combinator::{all_consuming, map, verify};
use nom::multi::{many0, separated_list1};
use nom::sequence::delimited;
use nom::{IResult, Parser};

use super::error::Problem;
use super::expand::{ExpandError, Lexer, Variables};

/// One `--mount` of a RUN, its values as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    fields: Vec<(String, Option<String>)>,
}

/// A mount with its variables expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// `bind`, `cache`, `tmpfs`, `secret`, `ssh`, in lower case.
    pub kind: String,
    /// A stage, a named context or an image; `None` is the build context for a bind mount.
    pub from: Option<String>,
    /// Path in `from`, as given; empty is its root.
    pub source: String,
    /// Where it is mounted; for a cache mount also its id if there is no `id`.
    pub target: String,
    /// `id` of a cache, secret or ssh mount.
    pub id: Option<String>,
    /// The variable that a secret mount sets (`env=`).
    pub env: Option<String>,
}

impl MountSpec {
    /// Whether the mount shows files of the build context (or of a named context or stage, if `from` is set) to the
    /// command: a change there runs the step again, just as with a COPY.
    pub fn is_bind(&self) -> bool {
        self.kind == "bind"
    }
}

impl Mount {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let Ok((_, fields)) = all_consuming(fields).parse(text) else {
            return Err(Problem::MountFields);
        };
        let fields: Vec<_> = fields
            .into_iter()
            .map(|field| match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
                None => (field.to_lowercase(), None),
            })
            .collect();
        let variable = |value: &str| value.find('$').is_some_and(|at| value.get(at + 1..).is_some_and(|v| !v.is_empty()));
        let expands = fields.iter().any(|(key, value)| key == "from" && value.as_deref().is_some_and(variable));
        match expands {
            true => Err(Problem::MountFrom),
            false => Ok(Self { fields }),
        }
    }

    /// `from=`, in which BuildKit expands nothing.
    pub fn from(&self) -> Option<&str> {
        self.last("from").filter(|from| !from.is_empty())
    }

    fn last(&self, key: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(k, _)| k == key).and_then(|(_, value)| value.as_deref())
    }

    /// Expands the values.
    ///
    /// # Errors
    /// A value that cannot be expanded.
    pub fn expand(&self, lexer: &Lexer, variables: &Variables) -> Result<MountSpec, ExpandError> {
        let mut spec = MountSpec { kind: "bind".to_owned(), from: None, source: String::new(), target: String::new(), id: None, env: None };
        for (key, value) in &self.fields {
            let Some(value) = value else {
                continue;
            };
            let value = lexer.word(value, variables)?;
            match key.as_str() {
                "type" => spec.kind = value.to_lowercase(),
                "from" => spec.from = Some(value).filter(|v| !v.is_empty()),
                "source" | "src" => spec.source = value,
                "target" | "dst" | "destination" => spec.target = value,
                "id" => spec.id = Some(value),
                "env" => spec.env = Some(value),
                _ => {}
            }
        }
        Ok(spec)
    }
}

/// One record of Go's `encoding/csv`.
fn fields(input: &str) -> IResult<&str, Vec<String>> {
    let quoted =
        delimited(tag("\""), map(many0(alt((map(tag("\"\""), |_| "\""), is_not("\"")))), |parts: Vec<&str>| parts.concat()), tag("\""));
    let bare = map(verify(take_while(|c| c != ','), |field: &str| !field.contains('"')), str::to_owned);
    // A reader at its end has no record.
    let some = verify(separated_list1(tag(","), alt((quoted, bare))), |fields: &[String]| {
        fields.len() > 1 || fields.iter().any(|f| !f.is_empty())
    });
    let mut some = some;
    some.parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields() {
        let mount = Mount::parse("type=bind,\"source=a,b\",target=$T,ro").unwrap();
        let variables = Variables::from([("T".to_owned(), "/t".to_owned())]);
        let spec = mount.expand(&Lexer::new('\\'), &variables).unwrap();
        assert_eq!(spec.source, "a,b");
        assert_eq!(spec.target, "/t");
        assert!(spec.is_bind() && spec.from.is_none());
        assert_eq!(Mount::parse("from=$X").unwrap_err(), Problem::MountFrom);
        assert_eq!(Mount::parse("a\"b").unwrap_err(), Problem::MountFields);
        assert_eq!(Mount::parse("").unwrap_err(), Problem::MountFields);
        assert_eq!(Mount::parse("from=build").unwrap().from(), Some("build"));
    }
}
