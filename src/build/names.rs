//! The names of the domain's enums in the contracts and in the history, written down once.

use super::{DurationSource, Format, Kind, Outcome, Status};

macro_rules! names {
    ($type:ty, $($variant:ident => $name:literal),+ $(,)?) => {
        impl $type {
            /// The name in the JSON contracts and in the history.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The value of that name; `None` for any other text.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

names!(Format, Plain => "plain", RawJson => "rawjson", Legacy => "legacy", Tty => "tty");
names!(Outcome, Succeeded => "succeeded", Failed => "failed", Canceled => "canceled", Truncated => "truncated");
names!(Status, Done => "done", Cached => "cached", Error => "error", Canceled => "canceled", Unfinished => "unfinished");
names!(DurationSource, Live => "live", RawJson => "rawjson", Timestamps => "timestamps", Estimate => "estimate");
names!(Kind,
    Instruction => "instruction",
    Internal => "internal",
    Auth => "auth",
    Context => "context",
    CacheImport => "cache-import",
    CacheExport => "cache-export",
    Export => "export",
    Other => "other",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for status in [Status::Done, Status::Cached, Status::Error, Status::Canceled, Status::Unfinished] {
            assert_eq!(Status::from_name(status.name()), Some(status));
        }
        assert_eq!(Kind::CacheImport.name(), "cache-import");
        assert_eq!(Outcome::from_name("done"), None);
    }
}
