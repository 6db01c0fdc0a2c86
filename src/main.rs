//! `bklog`, the command: see the library for everything else.
use std::io::{Read, Write};
use bklog::report::BuildWriter;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut reader = bklog::log::source::open(args[2].as_ref()).unwrap();
    let mut json = bklog::report::json::ShowJson::default();
    let out = std::cell::RefCell::new(std::io::BufWriter::new(std::io::stdout().lock()));
    {
    let mut log = bklog::log::Reader::new(bklog::build::collect::Collector::new(false, |b| json.build(&b, &mut *out.borrow_mut()).unwrap()));
    let mut buf = vec![0; bklog::log::source::CHUNK_BYTES];
    loop { let n = reader.read(&mut buf).unwrap(); if n == 0 { break } log.feed(&buf[..n]); }
    log.finish();
    }
    json.finish(&mut *out.borrow_mut()).unwrap();
    out.borrow_mut().flush().unwrap();
}
