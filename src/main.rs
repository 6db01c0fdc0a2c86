//! `bklog`, the command: see the library for everything else.

fn main() {}
