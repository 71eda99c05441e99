//! The system's allocator, and how much it has given out.

#![allow(unsafe_code, reason = "an allocator cannot be written without; this one hands on what it is given")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

static NOW: AtomicUsize = AtomicUsize::new(0);
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTED: Counted = Counted;

struct Counted;

// SAFETY: every call goes to the system's allocator as it came, and its answer back.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Where a block cannot grow in its place both are held for a moment.
        grow(size);
        NOW.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.realloc(place, layout, size) }
    }
}

fn grow(bytes: usize) {
    let now = NOW.fetch_add(bytes, SeqCst) + bytes;
    HIGHEST.fetch_max(now, SeqCst);
}

/// Begins anew with what is held now.
pub(crate) fn start() -> usize {
    let now = NOW.load(SeqCst);
    HIGHEST.store(now, SeqCst);
    now
}

/// The most that was held since.
pub(crate) fn highest() -> usize {
    HIGHEST.load(SeqCst)
}
