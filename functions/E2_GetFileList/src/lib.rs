use soloist_sdk::prelude::*;

/// Lists the files of a site. Functions have no files of their own, so this site is made up.
#[activity]
fn e2_get_file_list(site: String) -> Vec<String> {
    (1..=10).map(|page| format!("{site}/page-{page}.html")).collect()
}
