//! A map by step index.

use std::collections::HashMap;

/// Indexes below this lie side by side; real builds have no larger ones.
const DENSE: usize = 4096;

/// Docker 20.10 leaves indexes out, but never many together: a larger gap is not worth its memory.
const MOST_GAP: usize = 64;

/// A map from step indexes to values: as fast as a vector for the indexes that BuildKit gives, and no larger than its contents for
/// those that a hostile log makes up.
#[derive(Debug)]
pub struct ByIndex<T> {
    dense: Vec<Option<T>>,
    sparse: HashMap<u32, T>,
}

impl<T> Default for ByIndex<T> {
    fn default() -> Self {
        Self { dense: Vec::new(), sparse: HashMap::new() }
    }
}

fn place(index: u32) -> Option<usize> {
    usize::try_from(index).ok().filter(|place| *place < DENSE)
}

impl<T> ByIndex<T> {
    /// The value of an index.
    pub fn get(&self, index: u32) -> Option<&T> {
        let dense = place(index).and_then(|place| self.dense.get(place)?.as_ref());
        if dense.is_some() || self.sparse.is_empty() { dense } else { self.sparse.get(&index) }
    }

    /// The value of an index, to change it.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let dense = place(index).and_then(|place| self.dense.get_mut(place)?.as_mut());
        if dense.is_some() || self.sparse.is_empty() { dense } else { self.sparse.get_mut(&index) }
    }

    /// Sets the value of an index.
    pub fn insert(&mut self, index: u32, value: T) {
        if let Some(known) = self.get_mut(index) {
            *known = value;
            return;
        }
        match place(index).filter(|place| *place < self.dense.len() + MOST_GAP) {
            Some(place) => {
                if self.dense.len() <= place {
                    self.dense.resize_with(place + 1, || None);
                }
                self.dense[place] = Some(value);
            }
            None => _ = self.sparse.insert(index, value),
        }
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.dense.iter().flatten().chain(self.sparse.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_made_up_indexes_are_kept() {
        let mut map = ByIndex::default();
        for index in [1, 4095, 4096, 9_999_999] {
            assert!(map.get(index).is_none());
            map.insert(index, index);
            map.insert(index, index + 1);
            *map.get_mut(index).unwrap() += 1;
            assert_eq!(map.get(index), Some(&(index + 2)));
        }
        assert_eq!(map.values().count(), 4);
        assert!(map.dense.len() <= MOST_GAP);
        map.insert(70, 7);
        map.insert(4095, 8);
        assert_eq!((map.get(70), map.get(4095)), (Some(&7), Some(&8)));
    }
}
