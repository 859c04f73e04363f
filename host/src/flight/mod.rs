//! The flight recorder: which guest calls were running when a signal ended the process.
//!
//! A guest that kills its host would do so again at every start. So the calls that run are noted in memory
//! ([`Recorder`]), and when one of the signals that a process brings upon itself arrives, the handler in `fatal` writes
//! them to a file. The next process counts them in its [`Book`], which says which calls are suspects and which are parked.
//! Nothing is written before such a signal: a call costs a few stores, a full disk cannot hurt, and a kill from outside
//! (SIGKILL, a power cut) leaves nothing, for it is no guest's fault.
//!
//! This module never decides who runs when (that is the hub's), and no damage to its files keeps a host from starting.
//! Start reading at [`open`].

mod book;
mod fatal;
mod recorder;

use std::os::unix::fs::OpenOptionsExt as _;
use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use tracing::{error, warn};

pub use book::{ALONE_ENDS_MAX, Book, CallKey, Count, SUSPECT_ATTEMPTS, entity_text, timer_text};
pub use fatal::{install, signal_name};
pub use recorder::{Call, CallKind, EndOfFlight, Flight, Recorded, Recorder, RecordingError};

/// The file, in the data folder, that the signal handler writes; empty as long as nothing has happened.
pub const FLIGHT: &str = "flight";

/// The file, in the data folder, that holds the counts.
pub const BOOK: &str = "parking.json";

/// Reads what the last process left in a data folder, counts the calls that ran when a signal ended it, and begins a
/// recording of this process. Whatever is wrong with the files is logged and otherwise ignored. Names what was running in
/// the log.
///
/// When it returns, the counts are durable; a crash in its middle counts nothing twice.
#[must_use]
pub fn open(folder: &Path) -> (Arc<Recorder>, Book) {
    let mut book = Book::load(&folder.join(BOOK)).unwrap_or_else(|error| {
        warn!(file = BOOK, %error, "the counts of calls that ended the host cannot be read, they begin anew");
        Book::new(Some(folder.join(BOOK)))
    });
    let path = folder.join(FLIGHT);
    match last_end(&path) {
        Ok(None) => {}
        Ok(Some(end)) => {
            tell(&end);
            if book.count(&end)
                && let Err(error) = book.save()
            {
                warn!(file = BOOK, %error, "the calls that ran when the host ended could not be counted");
            }
        }
        Err(error) => warn!(file = FLIGHT, %error, "the recording of the last host is no use and is ignored"),
    }
    match begin(&path) {
        Ok(recorder) => (recorder, book),
        Err(error) => {
            warn!(file = FLIGHT, %error, "no recording of this host: a guest that ends it will not be found");
            (Arc::new(Recorder::off()), book)
        }
    }
}

fn last_end(path: &Path) -> Result<Option<EndOfFlight>, RecordingError> {
    match fs::read(path) {
        Ok(bytes) => EndOfFlight::parse(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins a recording whose file stays empty until the process ends by a signal.
fn begin(path: &Path) -> io::Result<Arc<Recorder>> {
    let file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    Ok(Arc::new(Recorder::on(file)))
}

/// Says how the last host ended, and what it ran: HTTP functions are named here only, for nothing repeats them.
fn tell(end: &EndOfFlight) {
    let functions = |http: bool| {
        let of_kind = end.calls.iter().filter(|call| (call.kind == CallKind::Http) == http);
        let names: std::collections::BTreeSet<_> = of_kind.map(|call| call.function.as_str()).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    error!(
        signal = signal_name(end.signal),
        running = %functions(false),
        running_http = %functions(true),
        "the last host was ended by a signal while these functions ran; one that does so again and again is parked"
    );
}

/// Writes a file in one piece: what is there afterwards is the old one or the new one, durably.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
