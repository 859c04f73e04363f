use futures::future::try_join_all;
use serde::Deserialize;
use soloist_sdk::prelude::*;

#[derive(Deserialize)]
struct Input {
    /// The site to back up.
    site: String,
}

/// Fan-out, fan-in: copies all files of a site at once and returns how many bytes were copied.
#[orchestrator]
async fn e2_backup_site_content(ctx: OrchestrationContext, input: Option<Input>) -> Result<u64> {
    let site = input.map_or_else(|| "example.org".into(), |input| input.site);
    let files: Vec<String> = ctx.call_activity("E2_GetFileList", &site).await?;
    ctx.set_custom_status(&format!("copying {} files", files.len()))?;

    // Every call starts its activity at once; `try_join_all` waits for all, or for the first that fails.
    let copies = files.iter().map(|file| ctx.call_activity::<u64>("E2_CopyFile", file));
    let sizes = try_join_all(copies).await?;
    Ok(sizes.iter().sum())
}

#[cfg(test)]
mod tests {
    use soloist_sdk::testing::Script;

    #[test]
    fn all_files_are_copied_at_once() {
        let mut script = Script::start("E2_BackupSiteContent", &());
        script.take_actions();
        script.complete(0, &["a", "b", "c"]);
        let copies: Vec<u32> = script.take_tasks().into_iter().map(|(number, ..)| number).collect();
        assert_eq!(copies, [1, 2, 3]);
        script.complete(2, &20).complete(3, &30).complete(1, &10);
        assert_eq!(script.output::<u64>(), 60);
    }
}
