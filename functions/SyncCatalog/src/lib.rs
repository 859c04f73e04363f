use serde::{Deserialize, Serialize};
use soloist_sdk::prelude::*;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Input {
    /// How many pages the catalog has.
    pages: u32,
    /// How long to rest between two of them.
    pause_seconds: u64,
}

impl Default for Input {
    fn default() -> Self {
        Self { pages: 60, pause_seconds: 1 }
    }
}

#[derive(Serialize)]
struct Progress {
    page: u32,
    of: u32,
    items: u64,
}

/// A long background job: copies a catalog page by page, at a pace that spares its owner.
///
/// Two of them at a time would do everything twice, so start it through HttpStartSingle under one well-known id. It goes on
/// after a crash where it was, and its custom status shows how far it is. Returns the number of items.
#[orchestrator]
async fn sync_catalog(ctx: OrchestrationContext, input: Option<Input>) -> Result<u64> {
    let input = input.unwrap_or_default();
    let mut items = 0;
    for page in 1..=input.pages {
        items += ctx.call_activity::<u64>("SyncCatalogPage", &page).await?;
        ctx.set_custom_status(&Progress { page, of: input.pages, items })?;
        ctx.create_timer(Duration::from_secs(input.pause_seconds)).await;
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use soloist_sdk::Json;
    use soloist_sdk::testing::Script;
    use std::collections::BTreeMap;

    #[test]
    fn every_page_is_fetched_once() {
        let mut pages = Vec::new();
        let input = BTreeMap::from([("pages", 3)]);
        let script = Script::run("SyncCatalog", &input, |_activity, page| {
            pages.push(page.decode::<u32>()?);
            Ok(Json::encode(&10)?)
        });
        assert_eq!(script.output::<u64>(), 30);
        assert_eq!(pages, [1, 2, 3]);
    }
}
