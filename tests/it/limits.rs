//! Logs that are made to fill the memory or to take for ever. Each is written, as it is made, into the real program, which may not
//! use more memory than a limit that the operating system enforces.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

/// Address space beyond the program's file, which is more than memory: stacks and what the allocator reserves count too. The file of a
/// debug build with the history is large, and all of it is mapped.
const MOST_KIB: u64 = 256 * 1024;

/// `BKLOG_LIMITS_FACTOR` asks for longer logs than these, which take a few seconds each in a debug build.
fn times(lines: u32) -> u32 {
    std::env::var("BKLOG_LIMITS_FACTOR").ok().and_then(|factor| factor.parse::<u32>().ok()).map_or(lines, |factor| lines * factor)
}

/// Runs `bklog show -` on a log that `write` makes; fails where the program is stopped by the limit or crashes.
fn show(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) {
    let script = "ulimit -v \"$1\" && exec \"$0\" show - --format json";
    let program = env!("CARGO_BIN_EXE_bklog");
    let limit = MOST_KIB + std::fs::metadata(program).unwrap().len() / 1024;
    let mut child = Command::new("sh")
        .args(["-c", script, program, &limit.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let mut input = io::BufWriter::with_capacity(256 * 1024, input);
        write(&mut input).and_then(|()| input.flush())
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().expect("the program reads its input to the end");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    // 3: no build in it; 4: the build was cut off.
    assert!(matches!(output.status.code(), Some(0 | 3 | 4)), "{:?}: {stderr}", output.status);
}

#[test]
fn a_line_of_a_gibibyte() {
    show(|out| {
        let zeros = vec![0; 1 << 20];
        (0..1024).try_for_each(|_| out.write_all(&zeros))
    });
}

#[test]
fn an_output_line_of_a_gibibyte() {
    show(|out| {
        let piece = vec![b'x'; 1 << 20];
        write!(out, "#1 [1/1] RUN x\n#1 0.100 a\n#1 0.100 b\n#1 0.200 ")?;
        (0..1024).try_for_each(|_| out.write_all(&piece))?;
        write!(out, "\n#1 DONE 0.3s\n")
    });
}

#[test]
fn made_up_indexes() {
    show(|out| (1..times(300_000)).try_for_each(|index| write!(out, "#{} [1/1] RUN x\n#{0} 0.1 out\n", index * 23)));
}

#[test]
fn steps_with_open_lines() {
    show(|out| {
        let long = "x".repeat(4000);
        (1..times(60_000)).try_for_each(|index| write!(out, "#{index} [1/1] RUN x\n#{index} 0.1 {long}\n#{index} ...\n"))
    });
}

#[test]
fn prefixes_without_end() {
    show(|out| (1..times(200_000)).try_for_each(|job| writeln!(out, "job{job}x | #{} [1/1] RUN x", job % 5000)));
}

#[test]
fn streams_with_all_the_indexes_they_may_have() {
    show(|out| {
        for index in 0..6000 {
            for job in 0..64 {
                let letters = [b'a' + job / 8, b'a' + job % 8];
                writeln!(out, "{} | #{index} [1/1] RUN x", String::from_utf8_lossy(&letters))?;
            }
        }
        Ok(())
    });
}

#[test]
fn builds_without_end() {
    show(|out| {
        (0..times(100_000))
            .try_for_each(|_| out.write_all(b"#0 building with \"c\" instance using remote driver\n#1 [1/1] RUN x\n#1 DONE 0.1s\n"))
    });
}

/// The first build never ends, and so those of the other stream wait for it.
#[test]
fn builds_that_wait_for_another() {
    show(|out| {
        writeln!(out, "a | #0 building with \"c\" instance using remote driver\na | #1 [1/1] RUN x")?;
        (0..times(100_000)).try_for_each(|_| {
            out.write_all(b"b | #0 building with \"c\" instance using remote driver\nb | #1 [1/1] RUN x\nb | #1 DONE 0.1s\n")
        })
    });
}

#[test]
fn builds_that_are_all_killed() {
    show(|out| {
        (0..times(100_000))
            .try_for_each(|n| write!(out, "#0 building with \"c\" instance using remote driver\n#{} [1/1] RUN x\n", n % 5000 + 1))
    });
}

#[test]
fn a_name_without_end() {
    show(|out| {
        writeln!(out, "#1 [1/1] RUN echo \"x")?;
        (0..times(250_000)).try_for_each(|n| writeln!(out, "#5 line {n}"))
    });
}

#[test]
fn names_of_many_lines() {
    show(|out| {
        let lines = "#9999 x\n".repeat(900);
        (1..600).try_for_each(|index| write!(out, "#{index} [1/1] RUN echo \"\n{lines}\"\n"))
    });
}

#[test]
fn long_names() {
    show(|out| {
        let words = "a ".repeat(250_000);
        (1..200)
            .try_for_each(|index| write!(out, "#{index} [1/2] COPY {words}\n#{index} ...\n#{index} [2/2] COPY b {words}\n#{index} ...\n"))
    });
}

#[test]
fn long_errors_and_warnings() {
    show(|out| {
        let text = "e".repeat(500_000);
        (1..300).try_for_each(|index| write!(out, "#{index} [1/1] RUN x\n#{index} WARN: {text}\n#{index} ERROR: {text}\n{text}\n{text}\n"))
    });
}

#[test]
fn rawjson_without_end() {
    show(|out| {
        let error = "e".repeat(2000);
        for n in 0..times(100_000) {
            let times = "\"started\":\"2026-01-01T00:00:00Z\",\"completed\":\"2026-01-01T00:00:01Z\"";
            writeln!(out, "{{\"vertexes\":[{{\"digest\":\"sha256:{n}\",\"name\":\"[1/1] RUN x\",{times},\"error\":\"{error}\"}}]}}")?;
            writeln!(out, "{{\"logs\":[{{\"vertex\":\"sha256:{n}\",\"data\":\"{}\"}}]}}", "YWFh".repeat(100))?;
        }
        Ok(())
    });
}

#[test]
fn one_step_of_rawjson_starts_again_and_again() {
    show(|out| {
        for n in 0..50_000 {
            let at = format!("2026-01-{:02}T{:02}:{:02}:{:02}", n / 20_000 + 1, n / 3600 % 24, n / 60 % 60, n % 60);
            writeln!(
                out,
                "{{\"vertexes\":[{{\"digest\":\"a\",\"name\":\"[1/1] RUN x\",\"started\":\"{at}.1Z\",\"completed\":\"{at}.2Z\"}}]}}"
            )?;
        }
        Ok(())
    });
}

#[test]
fn steps_of_the_legacy_builder_without_end() {
    show(|out| {
        (1..times(200_000))
            .try_for_each(|n| write!(out, "Step {n}/4000000000 : RUN x\n ---> Running in 0123456789ab\nout\n ---> 0123456789ab\n"))
    });
}

#[test]
fn a_terminal_that_shows_other_steps_every_time() {
    show(|out| {
        let long = "x".repeat(3000);
        (0..times(40_000)).try_for_each(|n| write!(out, "[+] Building 0.2s (4/8)\n => {n} {long}   0.1s\n"))
    });
}

#[test]
fn a_line_of_rawjson_with_very_many_vertexes() {
    show(|out| {
        write!(out, "{{\"vertexes\":[{{\"digest\":\"a\",\"started\":\"2026-01-01T00:00:00Z\"}}")?;
        (0..550_000).try_for_each(|_| write!(out, ",{{\"digest\":\"\"}}"))?;
        writeln!(out, "]}}")?;
        write!(out, "{{\"logs\":[{{\"vertex\":\"\"}}")?;
        (0..550_000).try_for_each(|_| write!(out, ",{{\"vertex\":\"\"}}"))?;
        writeln!(out, "]}}")
    });
}
