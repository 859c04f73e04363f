//! Timer functions: fired on their schedules, across downtime and crashes.

use std::time::Duration;

use soloist_tests::{Host, HostBuilder, eventually, folder::AppCopy};

/// An app whose one function is the timer `Ticks`, with these properties of its binding and of its function.json.
fn app(binding: &str, more: &str) -> AppCopy {
    let app = AppCopy::of(&["Ticks"]);
    app.write(
        "Ticks/function.json",
        format!(
            r#"{{ "scriptFile": "../soloist_test_app.wasm", {more} "bindings": [
                {{ "name": "timer", "type": "timerTrigger", "direction": "in", {binding} }},
                {{ "name": "client", "type": "durableClient", "direction": "in" }}] }}"#
        ),
    );
    app
}

fn builder(app: &AppCopy) -> HostBuilder {
    Host::builder().app(app.path())
}

/// The times for which the function was fired, by the log of one run.
fn ticks(log: &str) -> Vec<String> {
    let ticks = log.lines().filter_map(|line| line.split_once("tick of "));
    ticks.map(|(_, time)| time.split([' ', '"']).next().unwrap().to_owned()).collect()
}

async fn wait_for_ticks(host: &Host, count: usize) -> Vec<String> {
    eventually("the timer fires", || async {
        let log = host.log();
        let ticks = ticks(&log);
        if ticks.len() >= count { Ok(ticks) } else { Err(log) }
    })
    .await
}

/// Seconds since midnight.
fn second(time: &str) -> u64 {
    let number = |range: std::ops::Range<usize>| time[range].parse::<u64>().unwrap_or_else(|_| panic!("{time}"));
    (number(11..13) * 60 + number(14..16)) * 60 + number(17..19)
}

#[tokio::test]
async fn a_schedule_of_every_second_fires_each_once() {
    let app = app(r#""schedule": "%EVERY%""#, "");
    app.write("local.settings.json", r#"{ "Values": { "EVERY": "* * * * * *" } }"#);
    let mut host = builder(&app).start().await;
    let printed = host.printed();
    assert!(printed.contains("Ticks  * * * * * * (next: 20"), "{printed}");
    let before = wait_for_each_of_three_seconds(&host).await;
    host.kill9();
    host.restart().await;
    let after = wait_for_each_of_three_seconds(&host).await;
    let all: Vec<_> = before.into_iter().chain(after).collect();
    let seconds: Vec<_> = all.iter().map(|time| second(time)).collect();
    assert!(seconds.windows(2).all(|pair| pair[0] < pair[1] || pair[1] == 0), "none twice: {all:?}");
}

/// Waits until it has fired in three seconds in a row; where the machine is slow, those before may have been skipped.
async fn wait_for_each_of_three_seconds(host: &Host) -> Vec<String> {
    eventually("it fires each second", || async {
        let ticks = ticks(&host.log());
        let seconds: Vec<_> = ticks.iter().map(|time| second(time)).collect();
        let follows = |pair: &[u64]| pair[0] + 1 == pair[1] || pair[1] == 0;
        if seconds.windows(3).any(|three| three.windows(2).all(follows)) { Ok(ticks) } else { Err(ticks) }
    })
    .await
}

#[tokio::test]
async fn what_was_missed_while_the_host_was_down_fires_at_the_next_start() {
    // Once a minute is the most that is monitored: at a second that comes soon, while the host is down.
    let at = (jiff::Timestamp::now().as_second() + 6) % 60;
    let app = app(&format!(r#""schedule": "{at} * * * * *""#), "");
    let mut host = builder(&app).argument("--log-level").argument("debug").start().await;
    assert!(!host.log().contains("past due"));
    // The status is written a moment after the start.
    host.wait_for_log(KEPT).await;
    host.kill9();
    let since_second =
        |at: i64| (jiff::Timestamp::now().as_millisecond() - at * 1_000).rem_euclid(60_000).unsigned_abs();
    tokio::time::sleep(Duration::from_millis(60_200 - since_second(at))).await;
    host.restart().await;
    let fired = wait_for_ticks(&host, 1).await;
    assert!(host.log().contains("a timer function is past due on startup and runs now"), "{}", host.log());
    assert_eq!(second(&fired[0]) % 60, u64::try_from(at).unwrap(), "for the minute that was missed: {fired:?}");
    // The status is written a moment after the run.
    eventually("the run is kept", || async {
        let log = host.log();
        if log.rsplit_once("tick of ").is_some_and(|(_, after)| after.contains(KEPT)) { Ok(()) } else { Err(log) }
    })
    .await;
    let before = since_second(at);
    host.kill9();
    host.restart().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = host.log();
    // Unless the next one came while this machine was at it.
    assert!(!log.contains("past due") || since_second(at) < before, "once: {log}");
}

/// What the log tells once a schedule's status is written.
const KEPT: &str = "it is kept where a timer's schedule stands";

#[tokio::test]
async fn run_on_startup_fires_at_every_start_and_another_schedule_is_not_past_due() {
    let app = app(r#""schedule": "0 0 0 29 2 *", "runOnStartup": true"#, "");
    let mut host = builder(&app).start().await;
    wait_for_ticks(&host, 1).await;
    host.stop().await;
    host.restart().await;
    wait_for_ticks(&host, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ticks(&host.log()).len(), 1, "once per start");
}

#[tokio::test]
async fn a_schedule_that_is_none_is_told_and_the_zone_too() {
    let bad = app(r#""schedule": "often""#, "");
    let host = builder(&bad).start().await;
    let text = "The schedule expression 'often' was not recognized as a valid cron expression or timespan string.";
    assert!(host.printed().contains(text), "{}", host.printed());
    let good = app(r#""schedule": "0 30 2 * * *""#, "");
    let host = builder(&good).variable("WEBSITE_TIME_ZONE", "Tokyo Standard Time").start().await;
    assert!(host.printed().contains("T17:30:00Z)"), "{}", host.printed());
    let host = builder(&good).variable("WEBSITE_TIME_ZONE", "Mars/Olympus").start().await;
    assert!(host.printed().contains("the time zone 'Mars/Olympus' is not known"), "{}", host.printed());
}
