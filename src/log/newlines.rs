//! The places of the newlines of a text, found many at a time.
//!
//! Lines of output are short. A search for each next newline would spend its time on beginning and ending, and the processor on guessing
//! wrong how long the line is; so the newlines of a stretch of text are found first, without a branch for each, and the lines are looked
//! at afterwards.

use wide::u8x64;

/// How much text is searched at a time: little enough that it is in the fastest cache still when its lines are looked at.
const STRETCH: usize = 8 * 1024;

/// How many newlines of sixty-four bytes are noted without a look at whether there are so many. Few texts have more.
const COMMON: usize = 2;

/// The newlines of one stretch of a text.
#[derive(Debug, Default)]
pub(super) struct Newlines {
    /// Room for all that a stretch can have, and for those that are noted in vain.
    places: Vec<usize>,
    count: usize,
}

impl Newlines {
    /// Finds the newlines of the stretch that begins at `from`. Returns its end.
    pub(super) fn find(&mut self, text: &[u8], from: usize) -> usize {
        let end = text.len().min(from + STRETCH);
        let (blocks, rest) = text[from..end].as_chunks::<64>();
        self.places.resize(STRETCH + COMMON, 0);
        let (mut at, mut count) = (from, 0);
        for block in blocks {
            count = note(block, at, &mut self.places, count);
            at += 64;
        }
        if !rest.is_empty() {
            let mut block = [0; 64];
            block[..rest.len()].copy_from_slice(rest);
            count = note(&block, at, &mut self.places, count);
        }
        self.count = count;
        end
    }

    /// The places, in their order.
    pub(super) fn places(&self) -> &[usize] {
        &self.places[..self.count]
    }
}

/// Notes the newlines of a block that stands at `at`, behind the first `count` places. Returns how many places there are then.
#[inline(always)]
fn note(block: &[u8; 64], at: usize, places: &mut [usize], mut count: usize) -> usize {
    /// Without a bit to be found the search for the lowest would cost a branch.
    const LAST: u64 = 1 << 63;
    let mut mask = u8x64::new(*block).simd_eq(u8x64::splat(b'\n')).to_bitmask();
    if let Some(common) = places.get_mut(count..).and_then(<[usize]>::first_chunk_mut::<COMMON>) {
        for place in common {
            *place = at + (mask | LAST).trailing_zeros() as usize;
            count += usize::from(mask != 0);
            mask &= mask.wrapping_sub(1);
        }
    }
    while mask != 0 {
        places[count] = at + mask.trailing_zeros() as usize;
        count += 1;
        mask &= mask - 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(text: &[u8]) -> Vec<usize> {
        let mut newlines = Newlines::default();
        let (mut places, mut searched) = (Vec::new(), 0);
        while searched < text.len() {
            searched = newlines.find(text, searched);
            places.extend_from_slice(newlines.places());
        }
        places
    }

    #[test]
    fn stretches_of_nothing_else() {
        let text = vec![b'\n'; 2 * STRETCH + 65];
        assert_eq!(places(&text), (0..text.len()).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_newline_is_found(lines in prop::collection::vec(0_usize..300, 0..300), tail in 0_usize..100) {
            let mut text: Vec<u8> = lines.iter().flat_map(|length| [vec![b'x'; length / 2 * (length % 3)], vec![b'\n']].concat()).collect();
            text.extend(vec![0x8a; tail]);
            prop_assert_eq!(places(&text), memchr::memchr_iter(b'\n', &text).collect::<Vec<_>>());
        }
    }
}
