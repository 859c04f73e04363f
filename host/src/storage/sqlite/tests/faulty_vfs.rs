//! A disk that fails on command, beneath SQLite.
//!
//! It stands before SQLite's own layer for files: locks, shared memory and the rest are the real ones, and reads see what
//! was written, as they do from the kernel's cache. But what was written since a file's last sync is remembered, so that
//! a power cut can take some of it away ([`Disk::cut_power`]). Nothing is really synced, so a run takes milliseconds.
//!
//! How it gets in between: SQLite's layer opens the file into SQLite's memory, and then the table of functions that the
//! file points to is exchanged for a copy in which four are ours.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs,
    ptr::null,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use super::scenario::Random;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A write fails with EIO.
    Write,
    /// A write fails with EIO after its first part was written.
    ShortWrite,
    /// A read fails with EIO.
    Read,
    /// A number of writes fail with ENOSPC, each after some of it was written.
    Full,
    /// A sync fails; as on Linux, of what it should have made durable some is lost, and later syncs do not say so.
    Sync,
    /// The power fails in the middle of a write, a sync, a truncation or a deletion.
    PowerCut,
}

impl Fault {
    pub(super) const ALL: [Self; 6] =
        [Self::Write, Self::ShortWrite, Self::Read, Self::Full, Self::Sync, Self::PowerCut];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Truncate,
    Sync,
    Delete,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Do,
    /// Does this much of a write (in 1/256), or all of the call if it is 256, and fails.
    Fail {
        part: usize,
        code: c_int,
    },
}

const NOTHING: usize = 0;
const ALL: usize = 256;

/// What became of a file since its last sync.
#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

/// A file as the platters hold it, and what they do not hold yet.
#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Platter {
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Loses some of what is pending: each write, each sector of one, may have arrived or not, in any order.
    fn lose(&mut self, random: &mut Random) {
        // None of it, most of it, or anything between.
        let chance = random.pick(&[0, 50, 90]);
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write(offset, written) => {
                    for (number, sector) in written.chunks(512).enumerate() {
                        if random.percent(chance) {
                            Change::Write(offset + number * 512, sector.to_vec()).apply(&mut self.durable);
                        }
                    }
                }
                change @ Change::Truncate(_) if random.percent(chance) => change.apply(&mut self.durable),
                Change::Truncate(_) => {}
            }
        }
    }
}

#[derive(Debug)]
struct State {
    random: Random,
    files: BTreeMap<String, Platter>,
    /// The fault to come, and how many calls that it could strike come before it.
    armed: Option<(Fault, u64)>,
    fired: Option<Fault>,
    /// How many more writes find the disk full.
    full_writes: u64,
    /// No change arrives any more: the process or the power is gone.
    is_dead: bool,
    changes_after_failed_sync: u64,
}

impl State {
    fn judge(&mut self, call: Call) -> Verdict {
        let code = match call {
            Call::Read => ffi::SQLITE_IOERR_READ,
            Call::Write => ffi::SQLITE_IOERR_WRITE,
            Call::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
            Call::Sync => ffi::SQLITE_IOERR_FSYNC,
            Call::Delete => ffi::SQLITE_IOERR_DELETE,
        };
        if self.is_dead && call != Call::Read {
            return Verdict::Fail { part: NOTHING, code };
        }
        if self.fired == Some(Fault::Sync) && call != Call::Read {
            self.changes_after_failed_sync += 1;
        }
        if self.full_writes > 0 && call == Call::Write {
            self.full_writes -= 1;
            return Verdict::Fail { part: self.random.below(256) as usize, code: ffi::SQLITE_FULL };
        }
        let Some((fault, before)) = self.armed else { return Verdict::Do };
        let may_strike = match fault {
            Fault::Write | Fault::ShortWrite | Fault::Full => call == Call::Write,
            Fault::Read => call == Call::Read,
            Fault::Sync => call == Call::Sync,
            Fault::PowerCut => call != Call::Read,
        };
        if !may_strike {
            return Verdict::Do;
        }
        if before > 0 {
            self.armed = Some((fault, before - 1));
            return Verdict::Do;
        }
        (self.armed, self.fired) = (None, Some(fault));
        match fault {
            Fault::Read | Fault::Write | Fault::Sync => Verdict::Fail { part: NOTHING, code },
            Fault::ShortWrite => Verdict::Fail { part: self.random.below(256) as usize, code },
            Fault::Full => {
                self.full_writes = self.random.below(6);
                Verdict::Fail { part: self.random.below(256) as usize, code: ffi::SQLITE_FULL }
            }
            Fault::PowerCut => {
                self.is_dead = true;
                let part = if self.random.percent(50) { ALL } else { NOTHING };
                Verdict::Fail { part, code }
            }
        }
    }
}

/// A disk that fails on command. SQLite knows it by its name for as long as the value lives.
#[derive(Debug)]
pub(super) struct Disk {
    pub name: String,
    shared: Arc<Mutex<State>>,
    vfs: Box<Vfs>,
}

/// What SQLite is given: its own layer's description, in which two functions are ours.
#[repr(C)]
#[derive(Debug)]
struct Vfs {
    /// First, so that a pointer to it is a pointer to the whole.
    base: sqlite3_vfs,
    real: *mut sqlite3_vfs,
    _name: CString,
    shared: Arc<Mutex<State>>,
}

/// An open file.
struct Open {
    path: String,
    shared: Arc<Mutex<State>>,
    real: &'static sqlite3_io_methods,
    /// What the file points to.
    ours: Box<sqlite3_io_methods>,
}

/// The open files, by the address at which SQLite holds them.
static OPEN: Mutex<BTreeMap<usize, Open>> = Mutex::new(BTreeMap::new());

// SAFETY: boxes of tables of functions; nothing in them belongs to a thread.
unsafe impl Send for Open {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// A disk that works, with the files as they are.
    pub(super) fn new(seed: u64) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("faulty-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Mutex::new(State {
            random: Random(seed),
            files: BTreeMap::new(),
            armed: None,
            fired: None,
            full_writes: 0,
            is_dead: false,
            changes_after_failed_sync: 0,
        }));
        let c_name = CString::new(name.clone()).unwrap();
        // SAFETY: SQLite always has a default layer, and never frees it.
        let mut vfs = unsafe {
            let real = ffi::sqlite3_vfs_find(null());
            Box::new(Vfs { base: *real, real, _name: c_name, shared: Arc::clone(&shared) })
        };
        vfs.base.zName = vfs._name.as_ptr();
        vfs.base.xOpen = Some(open);
        vfs.base.xDelete = Some(delete);
        // SAFETY: the box outlives its registration: `drop` ends that first.
        unsafe { assert_eq!(ffi::sqlite3_vfs_register(&raw mut vfs.base, 0), ffi::SQLITE_OK) };
        Self { name, shared, vfs }
    }

    /// Lets this happen at the call after `before` calls that it could strike.
    pub(super) fn arm(&self, fault: Fault, before: u64) {
        lock(&self.shared).armed = Some((fault, before));
    }

    /// What has happened.
    pub(super) fn fired(&self) -> Option<Fault> {
        lock(&self.shared).fired
    }

    /// How many writes, syncs, truncations and deletions there were after a sync failed.
    pub(super) fn changes_after_failed_sync(&self) -> u64 {
        lock(&self.shared).changes_after_failed_sync
    }

    /// The process is gone: from now on nothing changes a file.
    pub(super) fn kill(&self) {
        lock(&self.shared).is_dead = true;
    }

    /// The power is gone: files are as the platters hold them. Nobody has them open any more.
    pub(super) fn cut_power(&self) {
        let mut state = lock(&self.shared);
        let State { random, files, .. } = &mut *state;
        for (path, platter) in files {
            platter.lose(random);
            fs::write(path, &platter.durable).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: it was registered in `new`, and its files are closed.
        unsafe { ffi::sqlite3_vfs_unregister(&raw mut self.vfs.base) };
    }
}

fn text(name: *const c_char) -> String {
    // SAFETY: SQLite passes names that end with a zero.
    unsafe { CStr::from_ptr(name) }.to_str().unwrap().to_owned()
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes the layer that was registered, which is the first field of ours.
    let Vfs { real, shared, .. } = unsafe { &*vfs.cast::<Vfs>() };
    if !name.is_null() {
        let mut state = lock(shared);
        if state.is_dead {
            return ffi::SQLITE_CANTOPEN;
        }
        // Before SQLite opens it for the first time: closing a file drops every lock that the process has on it.
        state
            .files
            .entry(text(name))
            .or_insert_with_key(|path| Platter { durable: fs::read(path).unwrap_or_default(), pending: Vec::new() });
    }
    // SAFETY: the arguments are SQLite's own; an opened file points to a table that lives for ever.
    let (result, real) = unsafe {
        let result = (**real).xOpen.unwrap()(*real, name, file, flags, out_flags);
        (result, (*file).pMethods.as_ref())
    };
    let (ffi::SQLITE_OK, Some(real), false) = (result, real, name.is_null()) else { return result };
    let ours = Box::new(sqlite3_io_methods {
        xClose: Some(close),
        xRead: Some(read),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        ..*real
    });
    // SAFETY: the table is kept until the file is closed.
    unsafe { (*file).pMethods = &raw const *ours };
    lock(&OPEN).insert(file as usize, Open { path: text(name), shared: Arc::clone(shared), real, ours });
    result
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: as in `open`.
    let Vfs { real, shared, .. } = unsafe { &*vfs.cast::<Vfs>() };
    let mut state = lock(shared);
    let verdict = state.judge(Call::Delete);
    let (Verdict::Do | Verdict::Fail { part: ALL, .. }) = verdict else { return code(verdict) };
    state.files.remove(&text(name));
    // SAFETY: the arguments are SQLite's own.
    let result = unsafe { (**real).xDelete.unwrap()(*real, name, sync_folder) };
    if verdict == Verdict::Do { result } else { code(verdict) }
}

fn code(verdict: Verdict) -> c_int {
    match verdict {
        Verdict::Do => ffi::SQLITE_OK,
        Verdict::Fail { part: _, code } => code,
    }
}

/// A file's real functions, its disk, its name.
fn opened(file: *mut sqlite3_file) -> (&'static sqlite3_io_methods, Arc<Mutex<State>>, String) {
    let open = lock(&OPEN);
    let open = &open[&(file as usize)];
    (open.real, Arc::clone(&open.shared), open.path.clone())
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let open = lock(&OPEN).remove(&(file as usize)).expect("an open file is closed once");
    // SAFETY: SQLite's own file; it is as its layer made it.
    let result = unsafe {
        (*file).pMethods = open.real;
        open.real.xClose.unwrap()(file)
    };
    drop(open.ours);
    result
}

unsafe extern "C" fn read(file: *mut sqlite3_file, bytes: *mut c_void, length: c_int, offset: sqlite3_int64) -> c_int {
    let (real, shared, _) = opened(file);
    match lock(&shared).judge(Call::Read) {
        // SAFETY: the arguments are SQLite's own.
        Verdict::Do => unsafe { real.xRead.unwrap()(file, bytes, length, offset) },
        verdict @ Verdict::Fail { .. } => code(verdict),
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let (real, shared, path) = opened(file);
    let mut state = lock(&shared);
    let verdict = state.judge(Call::Write);
    let part = match verdict {
        Verdict::Do => ALL,
        Verdict::Fail { part, .. } => part,
    };
    let length = length as usize * part / ALL;
    if length == 0 {
        return code(verdict);
    }
    // SAFETY: SQLite passes at least so many bytes.
    let written = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) }.to_vec();
    state.files.get_mut(&path).unwrap().pending.push(Change::Write(offset as usize, written));
    // SAFETY: the arguments are SQLite's own, the length is at most as it was.
    let result = unsafe { real.xWrite.unwrap()(file, bytes, length as c_int, offset) };
    if verdict == Verdict::Do { result } else { code(verdict) }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    let (real, shared, path) = opened(file);
    let mut state = lock(&shared);
    let verdict = state.judge(Call::Truncate);
    let (Verdict::Do | Verdict::Fail { part: ALL, .. }) = verdict else { return code(verdict) };
    state.files.get_mut(&path).unwrap().pending.push(Change::Truncate(length as usize));
    // SAFETY: the arguments are SQLite's own.
    let result = unsafe { real.xTruncate.unwrap()(file, length) };
    if verdict == Verdict::Do { result } else { code(verdict) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    let (_, shared, path) = opened(file);
    let mut state = lock(&shared);
    let verdict = state.judge(Call::Sync);
    let State { random, files, fired, .. } = &mut *state;
    let platter = files.get_mut(&path).unwrap();
    match verdict {
        Verdict::Do | Verdict::Fail { part: ALL, .. } => platter.sync(),
        Verdict::Fail { .. } if *fired == Some(Fault::Sync) => platter.lose(random),
        Verdict::Fail { .. } => {}
    }
    code(verdict)
}
