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
        let ticks = ticks(&host.log());
        (ticks.len() >= count).then_some(ticks)
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
    let before = wait_for_ticks(&host, 3).await;
    host.kill9();
    host.restart().await;
    wait_for_ticks(&host, 3).await;
    let all: Vec<_> = before.into_iter().chain(ticks(&host.log())).collect();
    let seconds: Vec<_> = all.iter().map(|time| second(time)).collect();
    assert!(seconds.windows(2).all(|pair| pair[0] < pair[1] || pair[1] == 0), "none twice: {all:?}");
    assert!(seconds[..3].windows(2).all(|pair| pair[0] + 1 == pair[1] || pair[1] == 0), "each: {all:?}");
}

#[tokio::test]
async fn what_was_missed_while_the_host_was_down_fires_at_the_next_start() {
    // Once a minute is the most that is monitored; the state of one that was due before is made by hand: the host is down
    // while the minute begins.
    let app = app(r#""schedule": "0 * * * * *""#, "");
    let mut host = builder(&app).start().await;
    assert!(!host.log().contains("past due"));
    // The status is written a moment after the start.
    tokio::time::sleep(Duration::from_millis(500)).await;
    host.kill9();
    let left = Duration::from_millis(60_200 - jiff::Timestamp::now().as_millisecond().unsigned_abs() % 60_000);
    tokio::time::sleep(left).await;
    host.restart().await;
    let fired = wait_for_ticks(&host, 1).await;
    assert!(host.log().contains("a timer function is past due on startup and runs now"), "{}", host.log());
    assert_eq!(second(&fired[0]) % 60, 0, "for the minute that was missed: {fired:?}");
    // The status is written a moment after the run.
    tokio::time::sleep(Duration::from_millis(500)).await;
    host.kill9();
    host.restart().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!host.log().contains("past due"), "once: {}", host.log());
}

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
