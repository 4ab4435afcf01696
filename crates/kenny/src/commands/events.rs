//! `kenny events`: what happened, and what happens.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::api::Event;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::EventsArgs;
use crate::client::{Client, EventStream};
use crate::error::CliError;
use crate::output::{self, Output, Palette, Tone};
use crate::words;

/// How long the stream may be quiet before all past events count as received: the server sends them in one go.
const QUIET: Duration = Duration::from_millis(500);

/// How long a followed stream may be quiet before it is opened anew, lest one that died silently is waited for.
const STALLED: Duration = Duration::from_secs(90);

/// How long to wait before a server that went away is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// A server that restarts is back long before; after that it counts as gone.
const GONE: Duration = Duration::from_mins(1);

/// Prints the past events, and with `--follow` what comes.
pub async fn run(client: &Client, output: Output, args: EventsArgs) -> Result<(), CliError> {
    let mut stream = client.events(args.agent.as_ref(), Some(0)).await?;
    let past = past(&mut stream, args.last, Timestamp::now()).await?;
    let mut newest = past.back().map(|event| event.id);
    for event in &past {
        print(output, event)?;
    }
    if !args.follow {
        if past.is_empty() {
            output::note("Nothing has happened yet.");
        }
        return Ok(());
    }
    loop {
        match timeout(STALLED, stream.next()).await {
            Ok(Some(Ok(event))) => {
                newest = Some(event.id);
                print(output, &event)?;
            }
            // An answer that makes no sense does not get better by asking again.
            Ok(Some(Err(error @ CliError::NotKenny { .. }))) => return Err(error),
            Ok(Some(Err(_)) | None) | Err(_) => {
                stream = reconnect(client, &args, newest).await?;
            }
        }
    }
}

/// All events up to now, the last `count` of them.
async fn past(
    stream: &mut EventStream,
    count: usize,
    now: Timestamp,
) -> Result<VecDeque<Event>, CliError> {
    let mut events = VecDeque::new();
    while let Ok(Some(event)) = timeout(QUIET, stream.next()).await {
        let event = event?;
        let is_new = event.at > now;
        if events.len() == count && !is_new {
            events.pop_front();
        }
        if count > 0 || is_new {
            events.push_back(event);
        }
        if is_new {
            break;
        }
    }
    Ok(events)
}

async fn reconnect(
    client: &Client,
    args: &EventsArgs,
    newest: Option<i64>,
) -> Result<EventStream, CliError> {
    let since = Instant::now();
    loop {
        match client.events(args.agent.as_ref(), newest).await {
            Err(error) if error.exit_code() == 3 && since.elapsed() < GONE => sleep(RETRY).await,
            other => return other,
        }
    }
}

fn print(output: Output, event: &Event) -> Result<(), CliError> {
    if output.json { output::record(event) } else { output::line(&describe(event, output.palette)) }
}

fn describe(event: &Event, palette: Palette) -> String {
    let at = palette.paint(Tone::Faint, &words::moment(event.at));
    format!("{at}  {:16}  {}", words::harmless(&event.kind), words::harmless(&event.summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            id: 1,
            at: Timestamp::UNIX_EPOCH,
            kind: "agent_online".to_owned(),
            agent_id: None,
            summary: "anna-pc\nis online".to_owned(),
            rollout: None,
            update: None,
        };
        assert_eq!(
            describe(&event, Palette { coloured: false }),
            "1970-01-01 00:00:00Z  agent_online      anna-pc\u{fffd}is online"
        );
    }
}
