//! The output lines of one step, told by their first bytes.
//!
//! This is the inner loop of the reader: nearly every line of a long log goes through here and nowhere else. It decides by a few
//! operations on vectors what [`super::grammar::body`] finds out at fifty times the cost, and it is exact: a line that it does not know
//! goes there.

use wide::u8x16;

/// Sixteen bytes, each between two bounds: a byte that is known, a digit, or any byte.
#[derive(Debug, Clone, Copy)]
struct Shape {
    low: u8x16,
    high: u8x16,
}

impl Shape {
    /// The shape of all texts that begin like `template`, where `d` stands for any digit and `?` for any byte.
    fn new(template: &[u8; 16]) -> Self {
        let bound = |digit: u8, any: u8| {
            u8x16::new(template.map(|byte| match byte {
                b'd' => digit,
                b'?' => any,
                byte => byte,
            }))
        };
        Self { low: bound(b'0', 0), high: bound(b'9', u8::MAX) }
    }

    #[inline(always)]
    fn fits(&self, bytes: &[u8; 16]) -> bool {
        let bytes = u8x16::new(*bytes);
        bytes.max(self.low).min(self.high).simd_eq(bytes).to_bitmask() == 0xffff
    }
}

/// The output lines of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputLine {
    index: u32,
    /// `#N 12.34 `: the lines of a step have times of the same shape for thousands of lines.
    shape: Shape,
    /// Where the text begins.
    text: usize,
}

impl OutputLine {
    /// Lines of step `index`. `None` for an index that is too long; no real one is.
    pub(super) fn of_step(index: u32) -> Option<Self> {
        (index < 1_000_000).then(|| Self::with_time(index, 1, 3))
    }

    fn with_time(index: u32, whole: usize, decimals: usize) -> Self {
        let (tag, length) = tag(index);
        let mut template = [b'?'; 16];
        template[..8].copy_from_slice(&tag);
        let (dot, text) = (length + whole, length + whole + decimals + 2);
        template[length..text].fill(b'd');
        (template[dot], template[text - 1]) = (b'.', b' ');
        template[text..].fill(b'?');
        Self { index, shape: Shape::new(&template), text }
    }

    /// True for bytes that begin with an output line of this step, other than one that BuildKit's solver may have written into the
    /// output (`[output clipped, …`). The line itself may be shorter than the bytes that are looked at.
    #[inline(always)]
    pub(super) fn begins(&mut self, bytes: &[u8]) -> bool {
        let Some(head) = bytes.first_chunk() else { return false };
        if !self.shape.fits(head) && !self.learn(head) {
            return false;
        }
        bytes.get(self.text) != Some(&b'[') || !bytes[self.text..].starts_with(b"[output clipped")
    }

    /// Learns where dot and blank stand in a time of at most six bytes: no step below 10,000 seconds has a longer one.
    #[cold]
    fn learn(&mut self, head: &[u8; 16]) -> bool {
        let (tag, length) = tag(self.index);
        if head[..length] != tag[..length] {
            return false;
        }
        let digits = |from: usize| head[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let whole = digits(length);
        let dot = length + whole;
        let decimals = if dot + 1 < head.len() { digits(dot + 1) } else { 0 };
        if whole == 0 || decimals == 0 || whole + decimals > 5 || head[dot] != b'.' || head[dot + 1 + decimals] != b' ' {
            return false;
        }
        *self = Self::with_time(self.index, whole, decimals);
        true
    }
}

/// `#N ` and its length, for an index of at most six digits.
fn tag(index: u32) -> ([u8; 8], usize) {
    // Written from its end.
    let (mut tag, mut length, mut number) = (u64::from(b' '), 2, index);
    while number > 0 || length == 2 {
        tag = (tag << 8) | (u64::from(b'0') + u64::from(number % 10));
        length += 1;
        number /= 10;
    }
    (((tag << 8) | u64::from(b'#')).to_le_bytes(), length)
}

/// A prefix of fixed length that is a time in RFC 3339, in UTC, and a blank.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimePrefix {
    length: usize,
    begin: Shape,
    /// The last sixteen bytes.
    end: Shape,
}

impl TimePrefix {
    /// A prefix of `length` bytes. `None` where no such time has that length.
    pub(super) fn new(length: usize) -> Option<Self> {
        let mut template = *b"dddd-dd-ddTdd:dd:dd.ddddddddddZ ";
        if length != 21 && !(23..=template.len()).contains(&length) {
            return None;
        }
        (template[length - 2], template[length - 1]) = (b'Z', b' ');
        let (begin, end) = (template.first_chunk()?, template[..length].last_chunk()?);
        Some(Self { length, begin: Shape::new(begin), end: Shape::new(end) })
    }

    /// True for bytes that begin with such a prefix.
    #[inline(always)]
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        let end = bytes.get(self.length - 16..).and_then(<[u8]>::first_chunk);
        bytes.first_chunk().zip(end).is_some_and(|(begin, end)| self.begin.fits(begin) && self.end.fits(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_every_length() {
        for text in ["2026-11-21T02:16:08Z #1", "2026-11-21T02:16:08.5Z #1", "2026-11-21T02:16:08.021474412Z #1"] {
            let length = text.len() - 2;
            let padded = format!("{text} 0.123 some text of a line");
            assert!(TimePrefix::new(length).unwrap().begins(padded.as_bytes()), "{text}");
            for place in 0..length {
                let mut wrong = padded.clone().into_bytes();
                wrong[place] = b'x';
                assert!(!TimePrefix::new(length).unwrap().begins(&wrong), "{text} {place}");
            }
            assert!(!TimePrefix::new(length).unwrap().begins(&padded.as_bytes()[..length - 1]));
        }
        assert!((0..21).chain([22, 33]).all(|length| TimePrefix::new(length).is_none()));
    }

    #[test]
    fn tags_of_every_length() {
        for index in [0, 1, 9, 10, 11, 99, 100, 4096, 999_998] {
            let (bytes, length) = tag(index);
            assert_eq!(&bytes[..length], format!("#{index} ").as_bytes());
            let line = format!("#{index} 1234.5 text and more");
            assert!(OutputLine::of_step(index).unwrap().begins(line.as_bytes()), "{line}");
            assert!(!OutputLine::of_step(index + 1).unwrap().begins(line.as_bytes()), "{line}");
            assert!(!OutputLine::of_step(index / 10 * 10).unwrap().begins(line.as_bytes()) || index % 10 == 0, "{line}");
        }
        assert!(OutputLine::of_step(1_000_000).is_none());
    }
}
