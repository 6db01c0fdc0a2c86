//! Is the code in the image the commit's code: one verdict for each copied step.
//!
//! The verdict rests on the replayed context sync ([`sync`]) of each sync key ([`key`]), on the work tree against the commit
//! ([`tree`]), on what the Dockerfile takes from where ([`plan`]), and on what earlier runs left ([`past`]). [`judge`] puts them
//! together. What only the image can tell, it does not claim.

pub mod assign;
mod bases;
mod by_image;
mod contexts;
mod dockerfile_sync;
pub mod judge;
pub mod key;
mod layer_files;
mod local;
pub mod past;
pub mod plan;
mod remote;
pub mod sync;
mod target;
pub mod tree;
mod unpack;
mod uses;
pub mod verdict;
mod whole_tree;

pub use judge::{Input, Report, SyncRecord, check};
pub use past::{NoPast, Past};
pub use verdict::{RunRef, StepVerdict, Verdict};
