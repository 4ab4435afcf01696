//! Releases, activity, settings, the own account and the first start in a real browser.

use kenny_proto::Role;
use serde_json::json;

use super::browser::PASSWORD;
use super::chromium::Chromium;
use super::dashboard::online;
use super::rig::Rig;
use super::trust;
use crate::releases::test_image::agent_image;

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn the_first_owner_begins_with_the_link_of_the_console() {
    let rig = Rig::start().await;
    let mut chromium = Chromium::start().await;
    chromium.open(rig.setup_link.as_ref().unwrap()).await;
    chromium.until("document.activeElement.id === 'password'").await;
    chromium.picture("setup").await;
    chromium.insert(PASSWORD).await;
    chromium.press("Tab").await;
    chromium.insert(PASSWORD).await;
    chromium.press("Enter").await;
    chromium.until("document.body.innerText.includes('No PC yet')").await;
    chromium.open(rig.setup_link.as_ref().unwrap()).await;
    chromium.until("document.title.startsWith('The setup is over')").await;
    chromium.picture("setup-over").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn a_release_is_uploaded_and_appears() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut chromium = Chromium::start().await;
    chromium.open(&format!("{}/releases", rig.url)).await;
    chromium.sign_in("anna").await;
    chromium.until("document.body.innerText.includes('No release yet')").await;
    chromium.picture("releases-empty").await;
    chromium.value("window.notReloaded = true").await;
    let file = rig.app_folder().join("kenny-agent");
    fs_err::write(&file, agent_image("1.0.0", 3_000_000)).unwrap();
    chromium.choose_file("#file", &file).await;
    chromium.until("document.querySelector('[data-upload] [role=status]').innerText.includes('1.0.0 for linux x86_64 is there')").await;
    chromium.until("document.querySelector('[id=\"release-1.0.0\"]')").await;

    fs_err::write(&file, b"no agent").unwrap();
    chromium.choose_file("#file", &file).await;
    chromium.until("document.querySelector('[data-upload] .bad')").await;
    // Dropping it is the same as choosing it.
    chromium
        .value(
            "(() => { const carried = new DataTransfer(); carried.items.add(new File(['x'], 'dropped.exe'));
             const form = document.querySelector('[data-upload]');
             form.querySelector('[role=status]').textContent = '';
             form.dispatchEvent(new DragEvent('drop', {dataTransfer: carried, cancelable: true, bubbles: true})); })()",
        )
        .await;
    chromium
        .until("document.querySelector('[data-upload] .bad')?.innerText.includes('Not added')")
        .await;
    assert_eq!(chromium.value("window.notReloaded").await, true);
    rig.release("1.1.0").await;
    let _one = online(&rig, "annas-pc").await;
    let _other = online(&rig, "berts-pc").await;
    let token = rig.agent("lab-01").await;
    let _third = rig.online_0_3("lab-01", &token, "0.9.0", serde_json::Value::Null).await;
    chromium.until("document.querySelector('[id=\"release-0.9.0\"]')").await;
    chromium.picture("releases").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn what_happens_appears_in_both_lists() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut chromium = Chromium::start().await;
    chromium.open(&format!("{}/activity", rig.url)).await;
    chromium.sign_in("anna").await;
    chromium.until("document.querySelector('#log')").await;
    chromium.picture("activity-empty").await;
    let mut agent = online(&rig, "annas-pc").await;
    chromium.until("document.querySelector('#log').innerText.includes('annas-pc')").await;
    rig.release("1.1.0").await;
    rig.wanted("annas-pc", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.fail(&request, "hash_mismatch", "the bytes have another SHA-256").await;
    rig.call_as("kenny_op_wrong", "GET", "/agents", None).await;
    rig.post("/agents/annas-pc/updates", json!({"version": "9.0.0"})).await;
    chromium.until("document.querySelector('#log').innerText.includes('another SHA-256')").await;
    chromium.picture("activity").await;
    chromium.value("document.querySelector('#kind').value = 'release_added'").await;
    chromium
        .value(
            "document.querySelector('#kind').dispatchEvent(new Event('change', {bubbles: true}))",
        )
        .await;
    chromium.until("document.querySelectorAll('#log tbody tr').length === 1").await;
    chromium.open(&format!("{}/activity/audit", rig.url)).await;
    chromium
        .until("document.querySelector('#log').innerText.includes('asked for the version')")
        .await;
    chromium.picture("audit").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn an_owner_looks_after_accounts_and_the_own_one() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut chromium = Chromium::start().await;
    chromium.open(&format!("{}/settings", rig.url)).await;
    chromium.sign_in("anna").await;
    chromium.until("document.querySelector('#accounts')").await;
    chromium.value("document.querySelector('#accounts ~ details').open = true").await;
    chromium.tab_to("#name").await;
    chromium.insert("bert").await;
    chromium.press("Enter").await;
    chromium.until("document.querySelector('#password')").await;
    chromium.picture("account-made").await;
    chromium.open(&format!("{}/settings", rig.url)).await;
    chromium.until("document.body.innerText.includes('bert')").await;
    chromium.picture("settings").await;
    trust::with_keys(&rig).await;
    chromium.open(&format!("{}/settings", rig.url)).await;
    chromium.until("document.querySelector('.roles')").await;
    chromium.picture("settings-signed").await;
    chromium.open(&format!("{}/settings/accounts/bert", rig.url)).await;
    chromium.until("document.querySelector('#role')").await;
    chromium.picture("settings-account").await;

    chromium.open(&format!("{}/account", rig.url)).await;
    chromium.until("document.querySelector('#tokens')").await;
    chromium
        .value("document.querySelector('#password-begin').closest('details').open = true")
        .await;
    chromium.tab_to("#password-begin").await;
    chromium.insert(PASSWORD).await;
    chromium.press("Enter").await;
    chromium.until("document.activeElement.id === 'code'").await;
    chromium.picture("totp").await;
    let code = rig.code_of("anna").await;
    chromium.insert(&code).await;
    chromium.press("Enter").await;
    chromium.until("document.querySelector('#codes')").await;
    chromium.picture("recovery-codes").await;
    chromium.click(".primary").await;
    chromium.until("document.querySelector('#token-name')").await;
    chromium.value("document.querySelector('#token-name').closest('details').open = true").await;
    chromium.tab_to("#token-name").await;
    chromium.insert("backup script").await;
    chromium.press("Enter").await;
    chromium.until("document.querySelector('#token')").await;
    chromium.picture("token-made").await;
    chromium.click(".primary").await;
    chromium.until("document.body.innerText.includes('backup script')").await;
    chromium.picture("account-full").await;
    chromium.stop().await;
    rig.stop().await;
}
