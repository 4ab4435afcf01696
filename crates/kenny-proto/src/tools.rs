//! The tool catalogue: every forwarded tool with its arguments as data, from which both ends check calls
//! and the server makes schemas and forms.

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Sha256Digest, UpdateId};

/// `agent.update`.
pub const AGENT_UPDATE: &str = "agent.update";
/// `agent.rollback` (0.3).
pub const AGENT_ROLLBACK: &str = "agent.rollback";
/// `telemetry.collect`.
pub const TELEMETRY_COLLECT: &str = "telemetry.collect";
/// `powershell.exec`.
pub const POWERSHELL_EXEC: &str = "powershell.exec";

/// One forwarded tool.
#[derive(Debug, Clone, Copy)]
pub struct ToolSpec {
    /// The dotted name of the wire.
    pub name: &'static str,
    /// One sentence for the operator.
    pub description: &'static str,
    /// True when the tool can change the PC.
    pub changes: bool,
    /// Its arguments.
    pub args: &'static [ArgSpec],
}

/// One argument of a tool.
#[derive(Debug, Clone, Copy)]
pub struct ArgSpec {
    /// The exact name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: ArgKind,
    /// True when a call without it is refused by the agent.
    pub required: bool,
    /// What it means, with its unit.
    pub description: &'static str,
}

/// What values an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgKind {
    /// A string.
    Text,
    /// A whole number, zero or more.
    Count,
    /// A list of strings.
    TextList,
    /// True or false.
    Flag,
}

/// A call's arguments do not fit the tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument `{field}` {problem}")]
pub struct ArgError {
    /// The argument that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

const fn arg(
    name: &'static str,
    kind: ArgKind,
    required: bool,
    description: &'static str,
) -> ArgSpec {
    ArgSpec { name, kind, required, description }
}

const fn tool(
    name: &'static str,
    changes: bool,
    description: &'static str,
    args: &'static [ArgSpec],
) -> ToolSpec {
    ToolSpec { name, description, changes, args }
}

use ArgKind::{Count, Flag, Text, TextList};

/// Every tool of contract 0.2, and what 0.3 added: optional arguments, and `agent.rollback`, which a 0.2 agent answers
/// with `not_found`.
pub const CATALOGUE: &[ToolSpec] = &[
    tool(
        AGENT_UPDATE,
        true,
        "Installs another version of the agent itself. With only `version`, the server fills in where to get it.",
        &[
            arg("version", Text, true, "The version to install, by SemVer."),
            arg("url", Text, true, "Where to download the executable; filled in by the server."),
            arg("sha256", Text, true, "SHA-256 of the executable; filled in by the server."),
            arg(
                "update_id",
                Text,
                false,
                "Names the update in its status reports; made by the server.",
            ),
            arg("deadline", Text, false, "Until when (RFC 3339) the update may still be started."),
            arg(
                "allow_quarantined",
                Flag,
                false,
                "Try a version again that failed on this PC before; the operator's word.",
            ),
        ],
    ),
    tool(
        AGENT_ROLLBACK,
        true,
        "Goes back to the version that the agent kept at its last update, without a download.",
        &[arg(
            "update_id",
            Text,
            false,
            "Names the rollback in its status reports; made by the server.",
        )],
    ),
    tool(
        TELEMETRY_COLLECT,
        false,
        "Reads facts about the PC: host, uptime, memory, disk, agent.",
        &[arg("sections", TextList, false, "Only these sections; all of them when absent.")],
    ),
    tool(
        POWERSHELL_EXEC,
        true,
        "Runs a PowerShell script (off Windows: `sh -c`) and returns its output.",
        &[
            arg("script", Text, true, "The script."),
            arg(
                "timeout_s",
                Count,
                false,
                "Seconds after which the script and all it started are ended; 60 when absent.",
            ),
        ],
    ),
    tool("fs.list", false, "Lists a folder.", &[arg("path", Text, true, "The folder.")]),
    tool(
        "fs.search",
        false,
        "Finds files by name below a folder.",
        &[
            arg("root", Text, true, "The folder to search."),
            arg("pattern", Text, true, "A name with * and ? as wildcards."),
        ],
    ),
    tool("fs.read", false, "Reads a text file.", &[arg("path", Text, true, "The file.")]),
    tool("fs.disk_usage", false, "Says how full each volume is.", &[]),
    tool("winget.list", false, "Lists installed packages and available updates.", &[]),
    tool(
        "winget.install",
        true,
        "Installs a package.",
        &[arg("id", Text, true, "The package's id.")],
    ),
    tool(
        "winget.uninstall",
        true,
        "Removes a package.",
        &[arg("id", Text, true, "The package's id.")],
    ),
    tool(
        "winget.update",
        true,
        "Updates one package, or all of them.",
        &[arg("id", Text, false, "The package's id; all packages when absent.")],
    ),
    tool("diag.processes", false, "Lists running processes.", &[]),
    tool(
        "diag.services",
        false,
        "Lists services.",
        &[arg("filter", Text, false, "Only services whose name contains this.")],
    ),
    tool(
        "diag.eventlog",
        false,
        "Reads the newest entries of an event log.",
        &[
            arg("log", Text, true, "The log, such as System or Application."),
            arg("count", Count, true, "How many entries."),
        ],
    ),
    tool("diag.autostart", false, "Lists what starts by itself.", &[]),
    tool("net.config", false, "Reads network interfaces and name servers.", &[]),
    tool("net.dns_flush", true, "Empties the name cache.", &[]),
    tool(
        "net.adapter_reset",
        true,
        "Switches a network adapter off and on.",
        &[arg("name", Text, true, "The adapter.")],
    ),
    tool("screen.capture", false, "Takes a picture of the screen.", &[]),
];

impl ToolSpec {
    /// Finds a tool by its dotted name or its underscore spelling.
    pub fn find(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|tool| tool.name == name || tool.underscore_name() == name)
    }

    /// The spelling for MCP, whose clients do not all accept dots.
    pub fn underscore_name(&self) -> String {
        self.name.replace('.', "_")
    }

    /// Checks names' presence and types. Arguments that the tool does not know are left alone, as the contract asks.
    pub fn check(&self, args: &Map<String, Value>) -> Result<(), ArgError> {
        for spec in self.args {
            let problem = match args.get(spec.name) {
                None | Some(Value::Null) if spec.required => "is missing".to_owned(),
                None | Some(Value::Null) => continue,
                Some(value) if spec.kind.takes(value) => continue,
                Some(_) => format!("must be {}", spec.kind),
            };
            return Err(ArgError { field: spec.name.to_owned(), problem });
        }
        Ok(())
    }

    /// The JSON Schema of the arguments, without those that the server fills in when `by_operator`.
    pub fn input_schema(&self, by_operator: bool) -> Map<String, Value> {
        let optional_here =
            |spec: &ArgSpec| by_operator && self.name == AGENT_UPDATE && spec.name != "version";
        let properties: Map<String, Value> = self
            .args
            .iter()
            .map(|spec| {
                let mut schema = spec.kind.schema();
                schema.insert("description".to_owned(), spec.description.into());
                (spec.name.to_owned(), schema.into())
            })
            .collect();
        let required: Vec<&str> = self
            .args
            .iter()
            .filter(|spec| spec.required && !optional_here(spec))
            .map(|spec| spec.name)
            .collect();
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), properties.into());
        schema.insert("required".to_owned(), required.into());
        schema
    }
}

impl ArgKind {
    fn takes(self, value: &Value) -> bool {
        match self {
            Text => value.is_string(),
            Count => value.is_u64(),
            TextList => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            Flag => value.is_boolean(),
        }
    }

    fn schema(self) -> Map<String, Value> {
        let schema = match self {
            Text => json!({"type": "string"}),
            Count => json!({"type": "integer", "minimum": 0}),
            TextList => json!({"type": "array", "items": {"type": "string"}}),
            Flag => json!({"type": "boolean"}),
        };
        let Value::Object(schema) = schema else { unreachable!("written as an object above") };
        schema
    }
}

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Text => "a string",
            Count => "a whole number, zero or more",
            TextList => "a list of strings",
            Flag => "true or false",
        })
    }
}

/// Arguments of `agent.update`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateArgs {
    /// The version that the executable must say it is.
    pub version: Version,
    /// Where to download it.
    pub url: String,
    /// The digest that the bytes must have.
    pub sha256: Sha256Digest,
    /// The server's name for the update (0.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_id: Option<UpdateId>,
    /// Until when the update may still be started (0.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<jiff::Timestamp>,
    /// Try it even if it failed on this PC before (0.3).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_quarantined: bool,
}

/// Arguments of `agent.rollback` (0.3); its result is [`UpdateStaged`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RollbackArgs {
    /// The server's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_id: Option<UpdateId>,
}

/// Result of `agent.update`: the candidate is verified and staged; the restart follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateStaged {
    /// Always true.
    pub ok: bool,
    /// The version that lies ready.
    pub staged_version: Version,
}

/// Arguments of `telemetry.collect`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TelemetryArgs {
    /// Only these sections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sections: Option<Vec<String>>,
}

/// Arguments of `powershell.exec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PowershellArgs {
    /// The script.
    pub script: String,
    /// Seconds until it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
}

/// Result of `powershell.exec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PowershellResult {
    /// Standard output, at most 1 MiB.
    pub stdout: String,
    /// Standard error, at most 1 MiB.
    pub stderr: String,
    /// The exit code.
    pub exit_code: i32,
    /// True when either output was longer than what is here.
    #[serde(default)]
    pub truncated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn both_spellings_find_the_tool() {
        for tool in CATALOGUE {
            assert_eq!(ToolSpec::find(tool.name).unwrap().name, tool.name);
            assert_eq!(ToolSpec::find(&tool.underscore_name()).unwrap().name, tool.name);
        }
        assert!(ToolSpec::find("agent.selfdestruct").is_none());
    }

    #[test]
    fn wrong_arguments_are_named() {
        let exec = ToolSpec::find(POWERSHELL_EXEC).unwrap();
        let check = |args| exec.check(&object(args)).map_err(|error| error.to_string());
        assert_eq!(check(json!({"script": "1", "timeout_s": 5, "new": true})), Ok(()));
        assert_eq!(check(json!({})), Err("argument `script` is missing".to_owned()));
        assert_eq!(
            check(json!({"script": "1", "timeout_s": -5})),
            Err("argument `timeout_s` must be a whole number, zero or more".to_owned())
        );
    }

    #[test]
    fn the_operator_need_only_name_the_version() {
        let update = ToolSpec::find(AGENT_UPDATE).unwrap();
        assert_eq!(update.input_schema(true)["required"], json!(["version"]));
        assert_eq!(update.input_schema(false)["required"], json!(["version", "url", "sha256"]));
    }
}
