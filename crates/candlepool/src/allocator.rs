//! The allocator, and having it give memory back.

/// The system's allocator keeps what a burst of requests took in the threads' arenas; this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`: how long freed memory is kept, in milliseconds.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Has freed memory given back at once. By default it is kept for a second, and longer where nobody asks for any: what an
/// evicted model leaves would still be there beside the one that it made room for.
pub(crate) fn give_back_at_once() {
    #[allow(unsafe_code, reason = "a setter in C")]
    // SAFETY: options may be set at any time; one that the library does not know is not set.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        #[allow(unsafe_code, reason = "a getter in C")]
        // SAFETY: it only reads.
        let get = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // The library's own default, which no option beside it has.
        assert_eq!(get(), 1000);
        give_back_at_once();
        assert_eq!(get(), 0);
    }
}
