//! The link of the first start.

use super::browser::{Browser, PASSWORD};
use super::rig::Rig;

fn path(rig: &Rig) -> String {
    let link = rig.setup_link.as_ref().unwrap();
    link.strip_prefix(&rig.url).unwrap().to_owned()
}

#[tokio::test]
async fn the_first_owner_chooses_a_name_and_a_password_once() {
    let rig = Rig::start().await;
    let path = path(&rig);
    let mut browser = Browser::new(&rig);
    let page = browser.get(&path).await;
    page.has(&["Welcome to kenny", "value=\"owner\""]);
    let fill = |name: &'static str, password: &'static str, again: &'static str| {
        [("name", name), ("password", password), ("again", again)]
    };
    let different = browser.submit(&page, &path, &fill("anna", PASSWORD, "x")).await;
    assert_eq!(different.status, 400);
    different.has(&["not the same"]);
    let weak = browser.submit(&page, &path, &fill("anna", "short", "short")).await;
    assert_eq!(weak.status, 400);
    weak.has(&["A password has at least 12 characters", "value=\"anna\""]);
    let other = Browser::new(&rig).get(&path).await;
    let entered = browser.submit(&page, &path, &fill("anna", PASSWORD, PASSWORD)).await;
    assert_eq!(entered.location(), "/");
    browser.get("/settings").await.has(&["Accounts", "anna", "owner"]);
    assert_eq!(rig.get("/me").await["account"]["name"], "owner", "the token goes on working");

    assert_eq!(browser.get(&path).await.status, 410);
    let again = browser.submit(&other, &path, &fill("eve", PASSWORD, PASSWORD)).await;
    assert!([403, 410].contains(&again.status), "{}", again.status);
    let rig = rig.restart().await;
    assert!(rig.setup_link.is_none(), "nobody needs one any more");
    rig.stop().await;
}

#[tokio::test]
async fn two_that_come_at_the_same_moment_make_one_owner() {
    let rig = Rig::start().await;
    let path = path(&rig);
    let (mut one, mut other) = (Browser::new(&rig), Browser::new(&rig));
    let (one_page, other_page) = (one.get(&path).await, other.get(&path).await);
    let fields = |name| [("name", name), ("password", PASSWORD), ("again", PASSWORD)];
    let (first, second) = (fields("anna"), fields("eve"));
    let (first, second) = tokio::join!(
        one.submit(&one_page, &path, &first),
        other.submit(&other_page, &path, &second)
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 410]);
    rig.stop().await;
}

#[tokio::test]
async fn a_password_by_the_command_line_ends_the_link() {
    let rig = Rig::start().await;
    let path = path(&rig);
    let mut browser = Browser::new(&rig);
    assert_eq!(browser.get("/setup/guessed").await.status, 410);
    let (status, _) =
        rig.call("PUT", "/me/password", Some(serde_json::json!({"new": PASSWORD}))).await;
    assert_eq!(status, 204);
    let over = browser.get(&path).await;
    assert_eq!(over.status, 410);
    over.has(&["The setup is over", "href=\"/login\""]);
    rig.stop().await;
}
