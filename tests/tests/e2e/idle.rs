//! A host that has nothing to do does nothing.

use std::{collections::BTreeMap, fs, time::Duration};

use soloist_tests::Host;

/// How often each thread of a process has given up its core so far.
fn wakeups(pid: u32) -> BTreeMap<String, (String, u64)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut wakeups = BTreeMap::new();
    for thread in threads.map(Result::unwrap) {
        // A thread may end while we look.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let count = field("voluntary_ctxt_switches:").parse().unwrap();
        wakeups.insert(thread.file_name().into_string().unwrap(), (field("Name:"), count));
    }
    wakeups
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_waiting_instances_cost_less_than_five_wake_ups_a_second() {
    const SECONDS: u64 = 10;
    let host = Host::start_default().await;
    let starts: Vec<_> = (0..20)
        .map(|starter| {
            let client = host.client();
            tokio::spawn(async move {
                for index in (starter..1000).step_by(20) {
                    let function = if index % 2 == 0 { "WaitForApproval" } else { "Eternal" };
                    client.start(function, &format!("i{index}"), "").await;
                }
            })
        })
        .collect();
    for start in starts {
        start.await.unwrap();
    }
    for index in 0..1000 {
        host.wait_for_status(&format!("i{index}"), "Running").await;
    }
    // This is about rest: whatever lingers after work may end, and once in a while there is something to tidy up.
    for last in [false, false, false, false, true] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = wakeups(host.pid());
        tokio::time::sleep(Duration::from_secs(SECONDS)).await;
        let after = wakeups(host.pid());
        let woken: BTreeMap<_, _> = after
            .iter()
            .map(|(thread, (name, count))| ((name, thread), count - before.get(thread).map_or(0, |(_, count)| *count)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let sum: u64 = woken.values().sum();
        println!("{sum} wake-ups in {SECONDS} s");
        if sum < 5 * SECONDS {
            break;
        }
        assert!(!last, "{sum} wake-ups in {SECONDS} s: {woken:?}");
    }
    assert_eq!(host.list("").await.len(), 1000);
}
