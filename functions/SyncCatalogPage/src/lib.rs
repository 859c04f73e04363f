use soloist_sdk::prelude::*;

/// Fetches one page of the catalog and returns how many items it has. A real one would ask a web service.
#[activity]
fn sync_catalog_page(page: u32) -> u64 {
    let items = 20 + u64::from(page % 7);
    log::info(format!("page {page}: {items} items"));
    items
}
