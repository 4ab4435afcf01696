//! Calling tools: a form made of each tool's schema. What changes the PC asks first.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use kenny_proto::api::{AgentDetail, ToolCall, ToolOutcome, ToolView};
use kenny_proto::policy::POLICY_SECTION;
use kenny_proto::tools::{AGENT_ROLLBACK, AGENT_UPDATE};
use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::app::App;
use crate::ops::{self, Action, OpsError};
use crate::web::components::{csrf_field, grouped, problem, prose};
use crate::web::error::WebError;
use crate::web::fields::Fields;
use crate::web::forms::SignedInForm;
use crate::web::layout::{Page, Place};
use crate::web::session::SignedIn;

/// Names of arguments in forms, apart from the form's own fields.
const PREFIX: &str = "arg.";
/// Texts that have many lines.
const LONG: [&str; 1] = ["script"];

/// The tools of a PC, those that only look first.
pub fn panel(app: &App, who: &SignedIn, detail: &AgentDetail) -> Result<Markup, OpsError> {
    let id = detail.agent.id.as_str();
    if !who.can(Action::CallTool) || detail.agent.version.is_none() {
        return Ok(html! {});
    }
    let refused = refused_by(detail);
    // An update and a rollback have forms of their own.
    let mut tools = ops::tools::list(app, &who.operator)?.tools;
    tools.retain(|tool| tool.name != AGENT_UPDATE && tool.name != AGENT_ROLLBACK);
    let (changing, looking): (Vec<_>, Vec<_>) = tools.into_iter().partition(|tool| tool.changes);
    let list = |title: &str, tools: &[ToolView]| {
        html! {
            div {
                h3 { (title) }
                ul.tools {
                    @for tool in tools {
                        li {
                            a href={"/agents/" (id) "/tools/" (tool.name)} { (tool.name) }
                            span.hint { (prose(&tool.description)) @if is_refused(&refused, &tool.name) { " This PC refuses it." } }
                        }
                    }
                }
            }
        }
    };
    Ok(html! {
        section aria-labelledby="tools" {
            h2 #tools { "Tools" }
            @if !detail.agent.online { p.hint { "The PC is offline. Tools answer when it is here again." } }
            div.columns { (list("Look", &looking)) (list("Change", &changing)) }
        }
    })
}

fn refused_by(detail: &AgentDetail) -> Vec<String> {
    let section = detail.telemetry.as_ref().and_then(|it| it.snapshot.get(POLICY_SECTION));
    let list = section.and_then(|section| section.fields.get("refused_tools")?.as_array());
    let names = list.into_iter().flatten().filter_map(Value::as_str);
    names.map(ToOwned::to_owned).collect()
}

fn is_refused(refused: &[String], tool: &str) -> bool {
    refused.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(begin) => tool.starts_with(begin),
        None => tool == pattern,
    })
}

/// Where a call stands.
enum Stand<'a> {
    Asking,
    Confirming,
    Answered(&'a ToolOutcome),
    Refused(&'a str),
}

/// `GET /agents/ID/tools/TOOL`.
pub async fn show(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, WebError> {
    let tool = find(&app, &who, &name)?;
    ops::agents::show(&app, &who.operator, &id).await?;
    Ok(page(&who, &id, &tool, &Map::new(), &Stand::Asking, StatusCode::OK))
}

/// `POST /agents/ID/tools/TOOL`.
pub async fn call(
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let SignedInForm { who, fields } = form;
    let tool = find(&app, &who, &name)?;
    let args = read(&tool, &fields);
    if tool.changes && fields.get("confirmed").is_none() {
        return Ok(page(&who, &id, &tool, &args, &Stand::Confirming, StatusCode::OK));
    }
    let wanted = ToolCall { args: args.clone(), timeout_ms: None };
    Ok(match ops::tools::call(&app, &who.operator, &id, &name, wanted).await {
        Ok(outcome) => page(&who, &id, &tool, &args, &Stand::Answered(&outcome), StatusCode::OK),
        Err(error) => {
            let stand = error.to_string();
            // The one status of errors whose page takes the place of a form.
            page(&who, &id, &tool, &args, &Stand::Refused(&stand), StatusCode::UNPROCESSABLE_ENTITY)
        }
    })
}

fn find(app: &App, who: &SignedIn, name: &str) -> Result<ToolView, WebError> {
    let tools = ops::tools::list(app, &who.operator)?.tools;
    tools.into_iter().find(|tool| tool.name == name).ok_or(WebError::NotFound)
}

/// What a property of a schema takes.
fn kind(property: &Value) -> &str {
    property.get("type").and_then(Value::as_str).unwrap_or("string")
}

fn properties(tool: &ToolView) -> Vec<(&str, &Value, bool)> {
    let required = tool.input_schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|list| list.iter().any(|it| it.as_str() == Some(name)));
    let all = tool.input_schema.get("properties").and_then(Value::as_object);
    let mut list: Vec<_> = all
        .into_iter()
        .flatten()
        .map(|(name, property)| (name.as_str(), property, is_required(name)))
        .collect();
    list.sort_by_key(|(_, _, required)| !required);
    list
}

/// The arguments that a form has, each of its property's type. What is no number stays text, so that the check of the
/// arguments says what is wrong with it.
fn read(tool: &ToolView, fields: &Fields) -> Map<String, Value> {
    let mut args = Map::new();
    for (name, property, _) in properties(tool) {
        let Some(text) = fields.get(&format!("{PREFIX}{name}")) else { continue };
        let value = match kind(property) {
            "integer" => text.trim().parse::<u64>().map_or_else(|_| text.into(), Into::into),
            "boolean" => true.into(),
            "array" => text.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
            // Browsers send lines with CRLF.
            _ => text.replace("\r\n", "\n").into(),
        };
        args.insert(name.to_owned(), value);
    }
    args
}

fn page(
    who: &SignedIn,
    id: &str,
    tool: &ToolView,
    args: &Map<String, Value>,
    stand: &Stand<'_>,
    status: StatusCode,
) -> Response {
    let title = format!("{} on {id}", tool.name);
    let content = html! {
        div.title {
            div {
                p.up { a href={"/agents/" (id)} { (id) } }
                h1 { (tool.name) }
                p.hint { (prose(&tool.description)) }
            }
        }
        div #tool.stack {
            @if matches!(stand, Stand::Confirming) { (confirmation(who, id, tool, args)) } @else { (form(who, id, tool, args)) }
            div #result aria-live="polite" {
                @match stand {
                    Stand::Asking | Stand::Confirming => {}
                    Stand::Refused(words) => { (problem(words)) }
                    Stand::Answered(outcome) => { (answer(outcome)) }
                }
            }
        }
    };
    Page::new(&title).of(who).at(Place::Fleet).with_status(status).show(&content)
}

/// A form of this tool that shows its answer in place.
fn call_form(who: &SignedIn, id: &str, tool: &ToolView, fields: &Markup) -> Markup {
    let path = format!("/agents/{id}/tools/{}", tool.name);
    html! {
        form.panel.call method="post" action=(path) hx-post=(path) hx-target="#tool" hx-select="#tool" hx-swap="outerHTML"
            hx-disabled-elt="find button" {
            (csrf_field(&who.csrf))
            (fields)
            p.hint.waiting role="status" { "Waiting for the PC" }
        }
    }
}

fn form(who: &SignedIn, id: &str, tool: &ToolView, args: &Map<String, Value>) -> Markup {
    let fields = html! {
        @for (name, property, required) in properties(tool) { (field(name, property, required, args.get(name))) }
        p.actions {
            button.primary type="submit" { @if tool.changes { "Go on" } @else { "Ask the PC" } }
        }
    };
    call_form(who, id, tool, &fields)
}

fn field(name: &str, property: &Value, required: bool, value: Option<&Value>) -> Markup {
    let (field_id, hint_id) = (format!("arg-{name}"), format!("hint-{name}"));
    let field_name = format!("{PREFIX}{name}");
    let text = value.map(as_text).unwrap_or_default();
    let hint = property.get("description").and_then(Value::as_str).unwrap_or_default();
    html! {
        @if kind(property) == "boolean" {
            p.check {
                input type="checkbox" id=(field_id) name=(field_name) value="yes" checked[value.is_some()] aria-describedby=(hint_id);
                label for=(field_id) { (name) }
            }
        } @else {
            label for=(field_id) { (name) @if !required { span.hint { " (may be left out)" } } }
            @if kind(property) == "array" || LONG.contains(&name) {
                textarea.code id=(field_id) name=(field_name) rows="5" required[required] spellcheck="false" autocapitalize="none"
                    aria-describedby=(hint_id) { (text) }
            } @else if kind(property) == "integer" {
                input id=(field_id) name=(field_name) type="number" min="0" step="1" value=(text) required[required]
                    aria-describedby=(hint_id);
            } @else {
                input id=(field_id) name=(field_name) type="text" value=(text) required[required] spellcheck="false"
                    autocapitalize="none" autocomplete="off" aria-describedby=(hint_id);
            }
        }
        p.hint id=(hint_id) { (hint) @if kind(property) == "array" { " One in each line." } }
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(as_text).collect::<Vec<_>>().join("\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn confirmation(who: &SignedIn, id: &str, tool: &ToolView, args: &Map<String, Value>) -> Markup {
    let fields = html! {
        h2 tabindex="-1" autofocus { "Really, on " (id) "?" }
        p { strong { (tool.name) } " changes the PC. " (prose(&tool.description)) }
        @if args.is_empty() { p.hint { "Without arguments." } } @else {
            dl.facts { @for (name, value) in args { div { dt { (name) } dd { pre { (as_text(value)) } } } } }
        }
        @for (name, value) in args {
            input type="hidden" name={(PREFIX) (name)} value=(as_text(value));
        }
        input type="hidden" name="confirmed" value="yes";
        p.actions {
            button.danger type="submit" { "Yes, do it" }
            a.button href={"/agents/" (id) "/tools/" (tool.name)} { "No, back" }
        }
    };
    call_form(who, id, tool, &fields)
}

fn answer(outcome: &ToolOutcome) -> Markup {
    let millis = usize::try_from(outcome.duration_ms).unwrap_or(usize::MAX);
    html! {
        h2 { "Answer" }
        p.hint { "After " (grouped(millis)) " ms." }
        @if let Some(error) = &outcome.error {
            (problem(&format!("The PC could not do it: {} ({})", error.message, error.code.as_str())))
        }
        @if let Some(result) = &outcome.result {
            @if result.is_empty() { p { "Done." } } @else { (object(result)) }
        }
    }
}

fn object(map: &Map<String, Value>) -> Markup {
    html! { dl.facts { @for (name, value) in map { div { dt { (name) } dd { (shown(value)) } } } } }
}

fn shown(value: &Value) -> Markup {
    match value {
        Value::Object(map) => object(map),
        Value::Array(items) if is_table(items) => table(items),
        Value::Array(items) => html! { ul.plain { @for item in items { li { (shown(item)) } } } },
        Value::String(text) if text.contains('\n') => html! { pre tabindex="0" { (text) } },
        Value::String(text) if text.is_empty() => html! { span.hint { "empty" } },
        Value::String(text) => html! { (text) },
        Value::Null => html! { span.hint { "nothing" } },
        Value::Bool(_) | Value::Number(_) => html! { (value) },
    }
}

fn is_table(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(Value::is_object)
}

fn table(items: &[Value]) -> Markup {
    let mut columns: Vec<&str> = Vec::new();
    for name in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" {
            table.data {
                thead { tr { @for name in &columns { th scope="col" { (name) } } } }
                tbody {
                    @for item in items {
                        tr { @for name in &columns { td { @if let Some(value) = item.get(*name) { (shown(value)) } } } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kenny_proto::tools::{CATALOGUE, ToolSpec};
    use serde_json::json;

    use super::*;

    fn view(name: &str) -> ToolView {
        let tool = ToolSpec::find(name).unwrap();
        ToolView {
            name: tool.name.to_owned(),
            description: tool.description.to_owned(),
            changes: tool.changes,
            input_schema: tool.input_schema(true),
        }
    }

    fn read_from(tool: &str, form: &str) -> Value {
        Value::Object(read(&view(tool), &Fields::parse(form.as_bytes()).unwrap()))
    }

    #[test]
    fn arguments_have_the_types_that_the_schema_asks_for() {
        let args = read_from("powershell.exec", "arg.script=a%0D%0Ab&arg.timeout_s=5&csrf=x");
        assert_eq!(args, json!({"script": "a\nb", "timeout_s": 5}));
        assert_eq!(
            read_from("telemetry.collect", "arg.sections=disk%0D%0A+%0D%0Amemory"),
            json!({"sections": ["disk", "memory"]})
        );
        assert_eq!(
            read_from("agent.update", "arg.version=1.0.0&arg.allow_quarantined=yes")["allow_quarantined"],
            true
        );
        assert_eq!(
            read_from("diag.eventlog", "arg.log=System&arg.count=many")["count"],
            "many",
            "refused by the check"
        );
        assert_eq!(read_from("fs.list", "arg.other=1"), json!({}));
    }

    #[test]
    fn every_tool_has_a_field_for_each_argument() {
        for tool in CATALOGUE {
            let view = view(tool.name);
            for (name, property, required) in properties(&view) {
                let text = field(name, property, required, None).into_string();
                assert!(text.contains(&format!("name=\"arg.{name}\"")), "{text}");
                let label = format!("<label for=\"arg-{name}\">");
                assert!(text.contains(&label), "{text}");
            }
            assert_eq!(properties(&view).len(), tool.args.len());
        }
    }

    #[test]
    fn a_pc_may_refuse_tools_by_name_or_by_kind() {
        let refused = ["powershell.exec".to_owned(), "fs.*".to_owned()];
        for (tool, is) in [("powershell.exec", true), ("fs.read", true), ("net.config", false)] {
            assert_eq!(is_refused(&refused, tool), is, "{tool}");
        }
    }
}
