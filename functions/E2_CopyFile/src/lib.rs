use soloist_sdk::prelude::*;

/// Copies one file and returns its size. A real one would fetch it and send it to its storage.
///
/// The key is the same when this copy is repeated after a crash: a storage that knows it writes the file once.
#[activity]
fn e2_copy_file(ctx: ActivityContext, file: String) -> u64 {
    let size = 1000 + file.len() as u64;
    log::info(format!("copied {file}, {size} bytes, as {}", ctx.idempotency_key()));
    size
}
