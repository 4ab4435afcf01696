//! `kenny call` and `kenny tools`.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::Path;

use kenny_proto::api::{ToolCall, ToolOutcome, ToolView};
use kenny_proto::tools::{ArgKind, POWERSHELL_EXEC, PowershellResult, ToolSpec};
use serde_json::{Map, Value};

use crate::cli::CallArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Output, Palette, Tone};
use crate::words;

/// `kenny call`.
pub async fn run(client: &Client, output: Output, args: CallArgs) -> Result<(), CliError> {
    let spec = ToolSpec::find(&args.tool);
    // A newer server may have tools that this command line does not know.
    let tool = spec.map_or(args.tool.as_str(), |spec| spec.name);
    let call = ToolCall {
        args: arguments(spec, args.args.as_deref(), &args.arg)?,
        timeout_ms: args.timeout.map(|seconds| seconds.saturating_mul(1000)),
    };
    let outcome = client.call(&args.agent, tool, &call).await?;
    if output.json {
        output::document(&outcome)?;
    }
    show(output, tool, outcome)
}

/// `kenny tools`.
pub async fn tools(client: &Client, output: Output) -> Result<(), CliError> {
    let list = client.tools().await?;
    if output.json {
        return output::document(&list);
    }
    output::text(&list.tools.iter().map(|tool| describe(tool, output.palette)).collect::<String>())
}

fn show(output: Output, tool: &str, outcome: ToolOutcome) -> Result<(), CliError> {
    if let Some(error) = outcome.error {
        let message = words::harmless(&error.message);
        return Err(CliError::Failed(format!("{tool}: {message} ({})", error.code)));
    }
    let result = Value::Object(outcome.result.unwrap_or_default());
    let script = match tool {
        POWERSHELL_EXEC => serde_json::from_value::<PowershellResult>(result.clone()).ok(),
        _ => None,
    };
    let Some(script) = script else {
        return if output.json { Ok(()) } else { output::document(&result) };
    };
    if !output.json {
        output::text(&script.stdout)?;
        if !script.stderr.is_empty() {
            output::note(script.stderr.trim_end_matches('\n'));
        }
        if script.truncated {
            output::note("kenny: the output was longer than 1 MiB; the rest is missing");
        }
    }
    match script.exit_code {
        0 => Ok(()),
        code => Err(CliError::Failed(format!("the script ended with exit code {code}"))),
    }
}

/// The arguments that `--args` and `--arg` give together.
fn arguments(
    spec: Option<&ToolSpec>,
    whole: Option<&str>,
    single: &[String],
) -> Result<Map<String, Value>, CliError> {
    let mut arguments = match whole {
        None => Map::new(),
        Some(text) => object(text)?,
    };
    for pair in single {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(CliError::Usage(format!("--arg {pair}: it has the form NAME=VALUE")));
        };
        let arg = spec.and_then(|spec| spec.args.iter().find(|arg| arg.name == name));
        let value = match arg.map(|arg| arg.kind) {
            Some(ArgKind::Text) => text.into(),
            Some(ArgKind::Count) => text.parse::<u64>().map(Value::from).map_err(|_| {
                CliError::Usage(format!("--arg {pair}: `{name}` is a whole number, zero or more"))
            })?,
            Some(ArgKind::Flag) => text
                .parse::<bool>()
                .map(Value::from)
                .map_err(|_| CliError::Usage(format!("--arg {pair}: `{name}` is true or false")))?,
            Some(ArgKind::TextList) => text.split(',').map(str::trim).collect(),
            None => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        };
        arguments.insert(name.to_owned(), value);
    }
    Ok(arguments)
}

fn object(text: &str) -> Result<Map<String, Value>, CliError> {
    let (text, origin) = match text.strip_prefix('@') {
        None => (text.to_owned(), "--args".to_owned()),
        Some("-") => {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).map_err(CliError::File)?;
            (text, "standard input".to_owned())
        }
        Some(path) => {
            (fs_err::read_to_string(Path::new(path)).map_err(CliError::File)?, path.to_owned())
        }
    };
    serde_json::from_str(&text).map_err(|error| {
        CliError::Usage(format!(
            "{origin} is not a JSON object such as {{\"script\": \"hostname\"}}: {error}"
        ))
    })
}

fn describe(tool: &ToolView, palette: Palette) -> String {
    let name = palette.paint(Tone::Heading, &tool.name);
    let changes = if tool.changes { " It can change the PC." } else { "" };
    let mut text = format!("{name}\n  {}{changes}\n", tool.description);
    let required: Vec<&str> = match tool.input_schema.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if let Some(Value::Object(properties)) = tool.input_schema.get("properties") {
        for (name, schema) in properties {
            let optional = if required.contains(&name.as_str()) { "" } else { " (optional)" };
            let words = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(text, "  --arg {name}=...{optional}  {words}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exec(whole: Option<&str>, single: &[&str]) -> Result<Value, CliError> {
        let single: Vec<String> = single.iter().map(|&text| text.to_owned()).collect();
        arguments(ToolSpec::find("powershell.exec"), whole, &single).map(Value::Object)
    }

    #[test]
    fn arguments_take_the_types_that_the_tool_wants() {
        assert_eq!(
            exec(None, &["script=1", "timeout_s=5", "new=true", "text=a=b"]).unwrap(),
            json!({"script": "1", "timeout_s": 5, "new": true, "text": "a=b"})
        );
        let update = ToolSpec::find("agent.update");
        let knowingly = ["allow_quarantined=true".to_owned()];
        assert_eq!(arguments(update, None, &knowingly).unwrap()["allow_quarantined"], json!(true));
        let unclear = ["allow_quarantined=yes".to_owned()];
        let error = arguments(update, None, &unclear).unwrap_err();
        assert!(error.to_string().ends_with("`allow_quarantined` is true or false"), "{error}");
        let sections = ["sections=host, memory".to_owned()];
        let telemetry = arguments(ToolSpec::find("telemetry_collect"), None, &sections).unwrap();
        assert_eq!(Value::Object(telemetry), json!({"sections": ["host", "memory"]}));
    }

    #[test]
    fn a_single_argument_wins_over_the_whole() {
        assert_eq!(
            exec(Some(r#"{"script": "1", "timeout_s": 9}"#), &["script=2"]).unwrap(),
            json!({"script": "2", "timeout_s": 9})
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (whole, single) in [
            (Some("[1]"), vec![]),
            (Some("{"), vec![]),
            (None, vec!["script"]),
            (None, vec!["timeout_s=x"]),
        ] {
            assert_eq!(exec(whole, &single).unwrap_err().exit_code(), 2);
        }
        assert_eq!(exec(Some("@/nonexistent.json"), &[]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_tool_is_described_with_its_arguments() {
        let spec = ToolSpec::find("powershell.exec").unwrap();
        let view = ToolView {
            name: spec.name.to_owned(),
            description: spec.description.to_owned(),
            changes: spec.changes,
            input_schema: spec.input_schema(true),
        };
        let text = describe(&view, Palette { coloured: false });
        assert!(text.contains("It can change the PC."), "{text}");
        assert!(text.contains("  --arg script=...  The script.\n"), "{text}");
        assert!(text.contains("  --arg timeout_s=... (optional)  Seconds"), "{text}");
    }
}
