//! What SQLite's errors mean to storage's callers.

use rusqlite::{Error, ErrorCode};

use crate::storage::StorageError;

impl From<Error> for StorageError {
    /// The error of a statement. Its transaction is rolled back, so nothing of it is stored.
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(text),
            // A disk that fails to read or write has lost its right to be believed.
            Some(ErrorCode::SystemIoFailure) => Self::Poisoned(text),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied,
            ) => Self::Busy(text),
            // A constraint that does not hold, a table or column that is not there, a value of another type.
            Some(_) | None => Self::Corrupt(text),
        }
    }
}

/// The error of a COMMIT: unless SQLite says that nothing was written, nobody knows what is stored.
pub(super) fn of_commit(error: &Error) -> StorageError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StorageError::Full(text),
        Some(ErrorCode::DatabaseBusy) => StorageError::Busy(text),
        Some(_) | None => StorageError::Poisoned(format!("a commit failed: {text}")),
    }
}
