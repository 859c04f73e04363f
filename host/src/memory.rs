//! What allocates, and what of it goes back to the system when the host comes to rest.
//!
//! Allocators keep what was freed, for it will be wanted again, and look whether it was only while they are used: a host
//! that waits would keep for good what its last burst took. So whoever sees that the host rests calls [`give_back`].

/// What allocates in every program that links the host. With the C library's allocator, held to two arenas so that it needs no
/// more memory than this, four futex calls in ten under load were threads that waited for each other in it.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, which it looks for under this name: few arenas, and unused memory is given back after a second, for
/// the sake of hosts that wait; larger blocks are kept per thread than by default, as guests and tasks take many.
#[cfg(not(target_env = "msvc"))]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: Settings =
    Settings(c"narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0,tcache_max:32768".as_ptr());

/// A C string that never changes.
#[cfg(not(target_env = "msvc"))]
#[repr(transparent)]
struct Settings(*const std::ffi::c_char);

// SAFETY: it points to a constant.
#[cfg(not(target_env = "msvc"))]
unsafe impl Sync for Settings {}

/// Gives memory that is not in use back to the system: what the allocators keep. Takes some milliseconds; it is for the moment
/// after start-up and after a burst.
pub fn give_back() {
    #[cfg(not(target_env = "msvc"))]
    purge_allocator();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: a plain call of the C library, in whose memory the database's caches are.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes jemalloc give back every page that is free.
#[cfg(not(target_env = "msvc"))]
fn purge_allocator() {
    // 4096 stands for all arenas.
    let purge = c"arena.4096.purge";
    let nothing = std::ptr::null_mut();
    // SAFETY: the name is a C string, and this command neither reads nor writes a value.
    let failed = unsafe { tikv_jemalloc_sys::mallctl(purge.as_ptr(), nothing, nothing.cast(), nothing, 0) };
    debug_assert_eq!(failed, 0, "jemalloc knows the command");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_kept() {
        let kept: Vec<Vec<u8>> = (0..1_000_u32).map(|n| n.to_le_bytes().repeat(1_000)).collect();
        let freed: Vec<Vec<u8>> = (0..100).map(|_| vec![7; 1 << 16]).collect();
        drop(freed);
        give_back();
        assert!((0..1_000_u32).zip(&kept).all(|(n, kept)| *kept == n.to_le_bytes().repeat(1_000)));
    }
}
