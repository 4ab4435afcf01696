//! The fleet and its PCs in a real browser: what changes is seen without a reload, by keyboard, in either theme.

use kenny_proto::Role;
use serde_json::{Value, json};

use super::chromium::Chromium;
use super::dashboard::{online, online_with, telemetry};
use super::rig::{FakeAgent, Rig, report};

/// Leaves a mark that a reload would take away.
async fn mark(chromium: &mut Chromium) {
    chromium.value("window.notReloaded = true").await;
}

async fn is_the_same_page(chromium: &mut Chromium) {
    assert_eq!(chromium.value("window.notReloaded").await, true, "the page was loaded anew");
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn a_pc_is_added_and_the_page_sees_it_come() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut chromium = Chromium::start().await;
    chromium.open(&rig.url).await;
    chromium.sign_in("anna").await;
    chromium.until("document.body.innerText.includes('No PC yet')").await;
    chromium.picture("fleet-empty").await;
    mark(&mut chromium).await;

    // Somebody else adds one: it is there.
    let token = rig.agent("annas-pc").await;
    chromium.until("document.querySelector('#pc-annas-pc')").await;
    is_the_same_page(&mut chromium).await;

    chromium.tab_to("a[href=\"/add\"]").await;
    chromium.press("Enter").await;
    chromium.until("document.activeElement.id === 'pc'").await;
    chromium.picture("add").await;
    chromium.insert("annas-pc").await;
    chromium.press("Enter").await;
    chromium.until("document.body.innerText.includes('Waiting for it to appear')").await;
    chromium.picture("add-link").await;
    mark(&mut chromium).await;
    let _agent = rig.online_0_3("annas-pc", &token, "1.0.0", Value::Null).await;
    chromium
        .until("document.querySelector('#waiting').innerText.includes('annas-pc is here')")
        .await;
    is_the_same_page(&mut chromium).await;
    chromium.picture("add-here").await;
    chromium.tab_to("#waiting a").await;
    chromium.press("Enter").await;
    chromium.until("document.title.startsWith('annas-pc')").await;
    chromium.picture("pc-new").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn an_update_is_asked_for_and_watched() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let token = rig.agent("annas-pc").await;
    let mut agent = online_with(&rig, "annas-pc", &token).await;
    rig.release("1.1.0").await;
    let mut chromium = Chromium::start().await;
    chromium.open(&format!("{}/agents/annas-pc", rig.url)).await;
    chromium.sign_in("anna").await;
    chromium.until("document.querySelector('#version')").await;
    chromium.tab_to("form[action$=\"/update\"] button").await;
    chromium.press("Enter").await;
    let request = agent.request("agent.update").await;
    chromium.until("document.querySelector('#underway')").await;
    mark(&mut chromium).await;
    // A choice that somebody is about to make outlives what happens meanwhile.
    chromium.value("document.querySelector('#actions ~ .panel details').open = true").await;

    agent.status(&request, "downloading", json!({"percent": 40})).await;
    chromium.until("document.querySelector('#underway progress').value === 22").await;
    agent.status(&request, "downloading", json!({"percent": 90})).await;
    chromium.until("document.querySelector('#underway').innerText.includes('90 %')").await;
    assert_eq!(
        chromium.value("document.querySelector('#actions ~ .panel details').open").await,
        true
    );
    chromium.picture("pc-updating").await;
    chromium.value("window.story = document.querySelector('.update')").await;
    for phase in ["verifying", "preflight", "staged", "swapping"] {
        agent.status(&request, phase, json!({})).await;
    }
    agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    chromium.until("document.querySelector('.timeline').innerText.includes('swapping')").await;
    agent.hang_up().await;
    chromium.until("document.querySelector('h1 ~ .hint').innerText.includes('Seen')").await;

    let failure =
        json!({"kind": "candidate_died", "detail": "1.1.0 ended 2 s after its start with code 3"});
    let told = report(&request, "rolled_back", failure);
    let mut agent = rig.online_0_3("annas-pc", &token, "1.0.0", told).await;
    agent.send(&telemetry("annas-pc")).await;
    chromium.until("document.body.innerText.includes('The old version was put back')").await;
    assert_eq!(
        chromium.value("window.story === document.querySelector('.update')").await,
        true,
        "in place"
    );
    is_the_same_page(&mut chromium).await;
    chromium.picture("pc-rolled-back").await;

    for minutes in [6, 31] {
        rig.look_in(minutes);
        let request = agent.request("agent.update").await;
        agent.fail(&request, "preflight", "it does not load").await;
        agent.settle().await;
    }
    chromium.until("document.body.innerText.includes('is not sent to this PC any more')").await;
    is_the_same_page(&mut chromium).await;
    chromium.picture("pc-held").await;
    chromium.tab_to("form[action$=\"/clear-hold\"] button").await;
    chromium.press("Enter").await;
    agent.request("agent.update").await;
    chromium.until("!document.querySelector('form[action$=\"/clear-hold\"]')").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn a_tool_is_called_in_place() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut agent = online(&rig, "annas-pc").await;
    let mut chromium = Chromium::start().await;
    chromium.open(&format!("{}/agents/annas-pc/tools/powershell.exec", rig.url)).await;
    chromium.sign_in("anna").await;
    chromium.until("document.querySelector('#arg-script')").await;
    chromium.picture("tool").await;
    mark(&mut chromium).await;
    chromium.tab_to("#arg-script").await;
    chromium.insert("Get-Date\nGet-Host").await;
    chromium.tab_to("#tool button").await;
    chromium.press("Enter").await;
    chromium.until("document.querySelector('[name=confirmed]')").await;
    chromium.picture("tool-asks").await;
    chromium.until("document.activeElement.innerText.startsWith('Really')").await;
    chromium.tab_to("#tool button").await;
    chromium.press("Enter").await;
    let request = agent.request("powershell.exec").await;
    assert_eq!(request["args"]["script"], "Get-Date\nGet-Host");
    chromium.until("document.querySelector('.waiting').offsetHeight > 0").await;
    agent
        .answer(
            &request,
            json!({"stdout": "Friday, 13 November 2026\r\n", "stderr": "", "exit_code": 0}),
        )
        .await;
    chromium.until("document.querySelector('#result').innerText.includes('Friday')").await;
    chromium.picture("tool-answer").await;
    is_the_same_page(&mut chromium).await;

    chromium.open(&format!("{}/agents/annas-pc/tools/fs.list", rig.url)).await;
    chromium.until("document.querySelector('#arg-path')").await;
    agent.hang_up().await;
    rig.until_online("annas-pc", false).await;
    chromium.type_into("#arg-path", "C:\\").await;
    chromium.press("Enter").await;
    chromium
        .until("document.querySelector('#result [role=alert]').innerText.includes('offline')")
        .await;
    chromium.picture("tool-offline").await;
    chromium.stop().await;
    rig.stop().await;
}

/// A fleet as it may be: most are well, some are behind, one is held, one is at it.
async fn a_fleet(rig: &Rig) -> Vec<FakeAgent> {
    let mut agents = Vec::new();
    for version in ["1.0.0", "1.1.0"] {
        rig.release(version).await;
    }
    for (number, name) in [
        "annas-pc",
        "berts-notebook",
        "front-desk",
        "kitchen",
        "lab-03",
        "lab-04",
        "meeting-room",
        "workshop-pc-with-a-long-name",
    ]
    .into_iter()
    .enumerate()
    {
        let token = rig.agent(name).await;
        let version = if number % 3 == 0 { "1.0.0" } else { "1.1.0" };
        let mut agent = rig.online_0_3(name, &token, version, Value::Null).await;
        let mut told = telemetry(name);
        if number % 4 != 1 {
            told["snapshot"].as_object_mut().unwrap().remove("disk");
        }
        agent.send(&told).await;
        agent.settle().await;
        agents.push(agent);
    }
    rig.agent("not-here-yet").await;
    agents
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn a_fleet_is_searched_and_stays_live() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut agents = a_fleet(&rig).await;
    rig.wanted("annas-pc", "1.1.0").await;
    let request = agents[0].request("agent.update").await;
    agents[0].status(&request, "downloading", json!({"percent": 60})).await;
    agents[0].settle().await;
    agents.remove(2).hang_up().await;
    rig.until_online("front-desk", false).await;

    let mut chromium = Chromium::start().await;
    chromium.open(&rig.url).await;
    chromium.sign_in("anna").await;
    chromium.until("document.querySelectorAll('tbody tr').length === 9").await;
    chromium.picture("fleet").await;
    mark(&mut chromium).await;

    chromium.tab_to("#q").await;
    chromium.insert("lab").await;
    chromium.until("document.querySelectorAll('tbody tr').length === 2").await;
    chromium.until("location.search.includes('q=lab')").await;
    // What is shown stays live, with the search and with the focus where it is.
    rig.agent("lab-05").await;
    chromium.until("document.querySelector('#pc-lab-05')").await;
    assert_eq!(chromium.value("document.querySelectorAll('tbody tr').length").await, 3);
    assert_eq!(chromium.value("document.activeElement.id").await, "q");
    chromium.tab_to("#to-lab-04").await;
    rig.agent("lab-01").await;
    chromium.until("document.querySelector('#pc-lab-01')").await;
    assert_eq!(chromium.value("document.activeElement.id").await, "to-lab-04", "the focus stays");
    is_the_same_page(&mut chromium).await;

    chromium.click("#show-trouble").await;
    chromium.until("document.querySelector('#show-trouble[aria-current]')").await;
    chromium.open(&format!("{}/?show=trouble", rig.url)).await;
    chromium.until("document.querySelectorAll('tbody tr').length === 2").await;
    chromium.open(&format!("{}/?q=nowhere", rig.url)).await;
    chromium.until("document.body.innerText.includes('No PC fits')").await;
    chromium.picture("fleet-none").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn a_page_outlives_its_server_and_a_signed_out_one_leads_to_the_sign_in() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    rig.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO agents (id, token_hash, created_at, legacy)
         SELECT printf('pc-%04d', i), printf('%064d', i), '2026-01-01T00:00:00Z', 1 FROM n",
    )
    .await;
    // As the same address: a page that is open finds its server again.
    let port = rig.app.address.port();
    let rig = rig.restart_on(port).await;
    let mut chromium = Chromium::start().await;
    chromium.open(&rig.url).await;
    chromium.sign_in("anna").await;
    chromium.until("document.body.innerText.includes('1,000')").await;
    chromium.until("document.body.dataset.connection === 'open'").await;
    mark(&mut chromium).await;
    let rig = rig.restart_on(port).await;
    rig.agent("added-later").await;
    chromium.until("document.querySelector('#pc-added-later')").await;
    is_the_same_page(&mut chromium).await;
    chromium.until("document.body.dataset.connection === 'open'").await;
    chromium.picture("fleet-thousand").await;

    rig.execute("DELETE FROM sessions").await;
    rig.agent("too-late").await;
    chromium.until("location.pathname === '/login'").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn everything_is_there_without_script() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut agent = online(&rig, "annas-pc").await;
    rig.agent("lab-01").await;
    rig.agent("lab-02").await;
    rig.release("1.1.0").await;
    let mut chromium = Chromium::start().await;
    chromium.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    chromium.open(&rig.url).await;
    chromium.sign_in("anna").await;
    chromium.until("document.querySelectorAll('tbody tr').length === 3").await;
    chromium.tab_to("#q").await;
    chromium.insert("lab").await;
    chromium.tab_to(".search button").await;
    chromium.press("Enter").await;
    chromium.until("document.querySelectorAll('tbody tr').length === 2").await;
    chromium.open(&format!("{}/agents/annas-pc", rig.url)).await;
    chromium.until("document.querySelector('#version')").await;
    chromium.tab_to("form[action$=\"/update\"] button").await;
    chromium.press("Enter").await;
    let request = agent.request("agent.update").await;
    agent.fail(&request, "disk", "no room on the disk").await;
    agent.settle().await;
    chromium.open(&format!("{}/agents/annas-pc", rig.url)).await;
    chromium.until("document.body.innerText.includes('no room on the disk')").await;

    chromium.open(&format!("{}/agents/annas-pc/tools/net.dns_flush", rig.url)).await;
    chromium.until("document.querySelector('#tool button')").await;
    for waited_for in ["[name=confirmed]", "#result h2"] {
        chromium.tab_to("#tool button").await;
        chromium.press("Enter").await;
        if waited_for == "#result h2" {
            let request = agent.request("net.dns_flush").await;
            agent.answer(&request, json!({"ok": true})).await;
        }
        chromium.until(&format!("document.querySelector('{waited_for}')")).await;
    }
    assert_eq!(chromium.value("typeof htmx").await, "undefined", "no script ran");
    chromium.stop().await;
    rig.stop().await;
}
