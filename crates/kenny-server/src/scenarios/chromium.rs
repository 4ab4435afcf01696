//! A real browser, driven through its DevTools protocol: what no imitation of one can show (cookies of other sites,
//! forms and frames of other pages, redirects under a policy).
//!
//! It needs Chromium, which `cargo xtask setup` installs, and is run by `cargo xtask test`. Where `KENNY_SCREENSHOTS` names a folder,
//! every page is kept there as a picture, narrow and wide, light and dark.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::rig::within;
use crate::testing::TempDir;

/// Finds what shuts people out; a test asset, and in no executable (MPL-2.0, see beside the file).
const AXE: &str = include_str!("vendor/axe-4.14.1.min.js");

/// A window of the browser.
pub struct Chromium {
    process: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    /// What the browser noted down for developers.
    notes: Vec<String>,
    pictures: Option<PathBuf>,
    _profile: TempDir,
}

impl Chromium {
    pub async fn start() -> Self {
        let profile = TempDir::new();
        let mut data_dir = std::ffi::OsString::from("--user-data-dir=");
        data_dir.push(profile.path());
        let start = |program: &str| {
            Command::new(program)
                .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"])
                .args([
                    "--disable-dev-shm-usage",
                    "--disable-background-networking",
                    "--disable-sync",
                ])
                .args([
                    "--hide-scrollbars",
                    "--force-color-profile=srgb",
                    "--remote-debugging-port=0",
                ])
                .arg(&data_dir)
                .arg("about:blank")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        };
        let process = start("chromium")
            .or_else(|_| start("google-chrome"))
            .expect("Chromium is there: `cargo xtask setup` installs it");
        let port_file = profile.path().join("DevToolsActivePort");
        let address = tokio::time::timeout(Duration::from_mins(2), async {
            loop {
                let text = fs_err::read_to_string(&port_file).unwrap_or_default();
                if let Some((port, path)) = text.trim().split_once('\n') {
                    return format!("ws://127.0.0.1:{port}{path}");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("Chromium says where it listens");
        let (socket, _) = within(tokio_tungstenite::connect_async(address)).await.unwrap();
        let pictures = std::env::var_os("KENNY_SCREENSHOTS").map(PathBuf::from);
        let mut chromium = Self {
            process,
            socket,
            session: None,
            last_id: 0,
            notes: Vec::new(),
            pictures,
            _profile: profile,
        };
        let target = chromium.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = chromium.call("Target.attachToTarget", attach).await;
        chromium.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        chromium.call("Page.enable", json!({})).await;
        chromium.call("Log.enable", json!({})).await;
        chromium
    }

    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Like [`Self::call`], where the browser may say no.
    async fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut frame = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            frame["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
        loop {
            let message = within(self.socket.next()).await.unwrap().unwrap();
            let mut answer: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if let Some(note) = answer["params"]["entry"]["text"].as_str() {
                self.notes.push(note.to_owned());
            }
            if answer["id"] == self.last_id {
                return match answer.get_mut("error") {
                    Some(error) => Err(error.take()),
                    None => Ok(answer["result"].take()),
                };
            }
        }
    }

    /// Goes to an address as somebody who typed it.
    pub async fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url})).await;
        assert!(opened.get("errorText").is_none(), "{opened}");
    }

    /// The value of an expression on the page.
    pub async fn value(&mut self, expression: &str) -> Value {
        let value = self.try_value(expression).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_value(&mut self, expression: &str) -> Result<Value, Value> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        Ok(self.ask("Runtime.evaluate", asked).await?["result"]["value"].take())
    }

    /// Waits until an expression is true; pages come when they do.
    pub async fn until(&mut self, expression: &str) {
        let complete = format!("document.readyState === 'complete' && Boolean({expression})");
        for _ in 0..600 {
            // A page that is just being left has no values.
            if self.try_value(&complete).await.is_ok_and(|value| value == true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let text = self.value("location.href + ' ' + document.body?.innerText").await;
        panic!("never {expression} on {text}");
    }

    /// Waits until the browser noted something down.
    pub async fn until_noted(&mut self, words: &str) {
        for _ in 0..600 {
            self.value("1").await;
            if self.notes.iter().any(|note| note.contains(words)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing of {words} in {:?}", self.notes);
    }

    /// Types into what has the focus.
    pub async fn insert(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses a key.
    pub async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "ArrowDown" => (40, ""),
            other => panic!("{other} has no code here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Presses Tab until the focus is on what this selector finds: everything can be reached without a mouse.
    pub async fn tab_to(&mut self, selector: &str) {
        for _ in 0..80 {
            if self.value(&format!("document.activeElement.matches('{selector}')")).await == true {
                return;
            }
            self.press("Tab").await;
        }
        panic!("the keyboard does not reach {selector}");
    }

    /// Clicks on what this selector finds.
    pub async fn click(&mut self, selector: &str) {
        let found = self.value(&format!("Boolean(document.querySelector(`{selector}`))")).await;
        assert_eq!(found, true, "nothing is {selector}");
        self.value(&format!("document.querySelector(`{selector}`).click()")).await;
    }

    /// Puts the focus on what this selector finds, and types.
    pub async fn type_into(&mut self, selector: &str, text: &str) {
        self.value(&format!("document.querySelector(`{selector}`).select()")).await;
        self.insert(text).await;
    }

    /// Chooses a file as somebody with a file dialogue does.
    pub async fn choose_file(&mut self, selector: &str, file: &std::path::Path) {
        let page = self.call("DOM.getDocument", json!({})).await;
        let wanted = json!({"nodeId": page["root"]["nodeId"], "selector": selector});
        let input = self.call("DOM.querySelector", wanted).await;
        let chosen = json!({"nodeId": input["nodeId"], "files": [file]});
        self.call("DOM.setFileInputFiles", chosen).await;
    }

    /// Signs in by keyboard where the sign-in page is shown.
    pub async fn sign_in(&mut self, name: &str) {
        self.until("document.activeElement.id === 'name'").await;
        self.insert(name).await;
        self.press("Tab").await;
        self.insert(super::browser::PASSWORD).await;
        self.press("Enter").await;
    }

    /// Looks at the page as people do: does it fit into narrow, usual and wide windows, and does axe-core find nothing to
    /// object to in either theme? Keeps pictures where somebody wants them.
    pub async fn picture(&mut self, name: &str) {
        for width in [1920, 390, 1280] {
            self.window(width, 844).await;
            let overflow = self.value("document.documentElement.scrollWidth - innerWidth").await;
            assert!(overflow.as_i64().unwrap() <= 0, "{name} is too wide for {width}: {overflow}");
            // What does not fit into its own frame is no wider page, and ugly all the same.
            let boxes = ".facts > div, .panel, .card, .piece, .drop, .list > li, .releases > li, .notice, .tile";
            let spilt = format!(
                "[...document.querySelectorAll('{boxes}')].filter((it) => it.scrollWidth > it.clientWidth + 1)
                 .map((it) => it.className + ': ' + it.innerText).join('; ')"
            );
            assert_eq!(
                self.value(&spilt).await,
                "",
                "{name} at {width}: something is wider than its frame"
            );
            for scheme in ["light", "dark"] {
                let media = json!({"features": [
                    {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}
                ]});
                self.call("Emulation.setEmulatedMedia", media).await;
                // What differs between widths are sizes; what differs between themes are colours.
                if width == 1280 || scheme == "light" {
                    self.object_to_nothing(name, width, scheme).await;
                }
                self.keep_picture(name, width, scheme).await;
            }
        }
    }

    async fn window(&mut self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    async fn keep_picture(&mut self, name: &str, width: u32, scheme: &str) {
        let Some(folder) = self.pictures.clone() else { return };
        let height = self.value("document.documentElement.scrollHeight").await.as_u64().unwrap();
        let clip =
            json!({"x": 0, "y": 0, "width": width, "height": height.clamp(844, 4000), "scale": 1});
        let shot = json!({"captureBeyondViewport": true, "clip": clip});
        let shot = self.call("Page.captureScreenshot", shot).await;
        let png = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join(format!("{name}-{width}-{scheme}.png")), png).unwrap();
    }

    async fn object_to_nothing(&mut self, name: &str, width: u32, scheme: &str) {
        if self.value("typeof axe").await == "undefined" {
            self.value(AXE).await;
        }
        let asked = "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.map((it) => \
                     it.id + ': ' + it.nodes.map((node) => node.html + ' ' + node.failureSummary).join('; ')).join('\\n'), String)";
        let found = self.value(asked).await;
        assert_eq!(found, "", "{name} at {width}, {scheme}");
    }

    pub async fn stop(mut self) {
        self.session = None;
        let _ = self.call("Browser.close", json!({})).await;
        for _ in 0..200 {
            if self.process.try_wait().unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
