use soloist_sdk::prelude::*;

/// Asks somebody for an approval. A real one would send a mail with a link that raises the event.
#[activity]
fn e4_request_approval((instance_id, subject): (String, String)) {
    log::info(format!("please approve {subject}: raise ApprovalEvent at instance '{instance_id}'"));
}
