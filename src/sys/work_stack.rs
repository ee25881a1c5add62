//! A stack of tasks that a few threads process until none is left, where each task may add further ones.
//!
//! Last in, first out: a walk over a tree then goes deep before it goes wide, which bounds its memory and its open descriptors by the
//! tree's depth and not by its width.
//!
//! # Locking
//! One mutex, held for the few instructions of a push or a pop and never during a task. New tasks are pushed in the same hold in which the
//! next task is popped, so a task costs one hold.
//!
//! # Termination
//! Work is over when the stack is empty and no thread holds a task: only a held task can add more. A thread that panics ends the work for
//! all; the panic is passed on to the caller. If a thread cannot be started, the work is done without it: the calling thread always works.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The tasks that are waiting, as the worker of one task sees them.
#[derive(Debug)]
pub struct WorkStack<T> {
    state: Mutex<StackState<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct StackState<T> {
    tasks: Vec<T>,
    /// Threads that hold a task.
    working: usize,
    /// Threads that wait for a task.
    waiting: usize,
    /// A worker panicked.
    abandoned: bool,
}

/// Stack of a worker thread: workers keep their buffers on the heap and never recurse.
const THREAD_STACK: usize = 256 * 1024;

/// Processes `first` and all tasks that it adds on `threads` threads, the calling one included. Each thread has a state of its own, made
/// by `state`; all of them are returned, in no particular order.
///
/// `work` gets the stack, to share a task at once with an idle thread, and a list for the tasks that can wait until it
/// returns. The last task of the list is worked on first.
pub fn work_off<T: Send, S: Send>(
    threads: usize,
    first: Vec<T>,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&WorkStack<T>, &mut S, T, &mut Vec<T>) + Sync,
) -> Vec<S> {
    let stack = WorkStack {
        state: Mutex::new(StackState { tasks: first, working: 0, waiting: 0, abandoned: false }),
        changed: Condvar::new(),
    };
    let worker = || {
        let mut own = state();
        stack.worker(&mut own, &work);
        own
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map_while(|_| {
                std::thread::Builder::new().stack_size(THREAD_STACK).spawn_scoped(scope, worker).ok()
            })
            .collect();
        let mut states = vec![worker()];
        for other in others {
            states.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        states
    })
}

impl<T> WorkStack<T> {
    /// Shares a task at once: a waiting thread gets it while the caller continues.
    pub fn push(&self, task: T) {
        let mut state = self.lock();
        state.tasks.push(task);
        if state.waiting > 0 {
            self.changed.notify_one();
        }
    }

    fn worker<S>(&self, own: &mut S, work: impl Fn(&WorkStack<T>, &mut S, T, &mut Vec<T>)) {
        let guard = AbandonOnPanic(self);
        let mut made = Vec::new();
        let mut task = self.next(0, &mut made);
        while let Some(held) = task {
            work(self, own, held, &mut made);
            task = self.next(1, &mut made);
        }
        std::mem::forget(guard);
    }

    /// Returns the `held` tasks (0 or 1) of the calling thread, pushes the tasks they made, and waits for the next one.
    fn next(&self, held: usize, made: &mut Vec<T>) -> Option<T> {
        let mut state = self.lock();
        state.working -= held;
        state.tasks.append(made);
        loop {
            if state.abandoned {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                state.working += 1;
                // A woken thread wakes the next: nobody is woken for a task that its maker pops itself.
                if state.waiting > 0 && !state.tasks.is_empty() {
                    self.changed.notify_one();
                }
                return Some(task);
            }
            if state.working == 0 {
                self.changed.notify_all();
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, StackState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases the other threads when a worker panics; otherwise they would wait for its task for ever.
struct AbandonOnPanic<'a, T>(&'a WorkStack<T>);

impl<T> Drop for AbandonOnPanic<'_, T> {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::time::Duration;

    /// A binary tree of tasks: 2^(depth+1) - 1 of them.
    fn count(threads: usize, depth: u32) -> u64 {
        let counts = work_off(
            threads,
            vec![depth],
            || 0_u64,
            |stack, count, depth, made| {
                *count += 1;
                if depth > 0 {
                    stack.push(depth - 1);
                    made.push(depth - 1);
                }
            },
        );
        assert_eq!(counts.len(), threads);
        counts.iter().sum()
    }

    #[test]
    fn every_task_is_done_once_and_the_work_ends() {
        for threads in [1, 2, 8] {
            for depth in [0, 1, 12] {
                assert_eq!(count(threads, depth), (1 << (depth + 1)) - 1, "{threads} threads, depth {depth}");
            }
        }
        for _ in 0..200 {
            assert_eq!(count(3, 2), 7, "threads that come late or sleep do not hang");
        }
        assert!(work_off(2, Vec::<()>::new(), || (), |_, _, (), _| ()).len() == 2, "nothing to do");
    }

    #[test]
    fn a_pushed_task_is_taken_by_another_thread_while_its_maker_works_on() {
        let both = Barrier::new(2);
        work_off(
            2,
            vec![true],
            || (),
            |stack, (), maker, _| {
                if maker {
                    stack.push(false);
                }
                // Passable only by two threads that each hold a task.
                both.wait();
            },
        );
    }

    #[test]
    fn the_youngest_task_comes_first() {
        let order = work_off(1, vec![0], Vec::new, |_, order, task, made| {
            order.push(task);
            if task < 10 {
                made.extend([task + 20, task + 10]);
            }
        });
        assert_eq!(order, [[0, 10, 20]]);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_nobody_waiting() {
        let result = std::panic::catch_unwind(|| {
            work_off(
                2,
                vec![0, 1],
                || (),
                |_, (), task, _| {
                    std::thread::sleep(Duration::from_millis(5));
                    assert!(task == 0, "task 1 fails");
                },
            )
        });
        assert!(result.is_err());
    }

    #[test]
    fn tasks_are_shared_by_all_threads() {
        let barrier = Barrier::new(4);
        let ids = work_off(
            4,
            vec![(); 4],
            || None,
            |_, id, (), _| {
                barrier.wait();
                *id = Some(std::thread::current().id());
            },
        );
        assert_eq!(ids.into_iter().flatten().collect::<HashSet<_>>().len(), 4);
    }
}
