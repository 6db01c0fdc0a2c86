//! Work on many things at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Works on every item, as many at once as the machine has processors, and gives each result with the place of its item to `take`, which
/// runs in the calling thread. Results come in the order in which they are ready, and few of them wait for `take`.
///
/// # Errors
/// The first error of `take`; then no further item is begun.
pub(crate) fn each<T: Sync, R: Send, E>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(items.len());
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::sync_channel(workers.max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    if sender.send((at, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // What is not taken is dropped with the receiver, so that nobody waits to send it.
        results.into_iter().try_for_each(|(at, result)| take(at, result))
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<usize> = (0..1000).collect();
        let mut squares = vec![None; items.len()];
        let Ok(()) = each(
            &items,
            |item| item * item,
            |at, square| -> Result<(), Infallible> {
                assert_eq!(squares[at].replace(square), None);
                Ok(())
            },
        );
        assert!(squares.iter().enumerate().all(|(at, square)| *square == Some(at * at)));
        assert_eq!(each(&[], |item: &usize| *item, |_, _| Err("no item, no result")), Ok(()));
    }

    #[test]
    fn an_error_ends_it() {
        let items: Vec<usize> = (0..1000).collect();
        let mut taken = 0;
        let ended = each(
            &items,
            |item| *item,
            |_, _| {
                taken += 1;
                if taken == 3 { Err(taken) } else { Ok(()) }
            },
        );
        assert_eq!((ended, taken), (Err(3), 3));
    }
}
