//! Opens the page as a reader does, on a phone and on a desk, in light and in dark, and says what is wrong with it.
//!
//! | file | what |
//! |---|---|
//! | `pipe` | chromium without a window, and what is said to it |
//! | `probe.js` | what is looked at within the page: sizes, contrast, letters, texts that overlap |
//!
//! Beside that nothing may be asked for but the file itself, and nothing may be said on the console. Each view leaves
//! a picture of the whole page beside it, `<view>.png`.

mod pipe;

use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipe::Chromium;
use serde_json::{Value, json};
use std::path::Path;

/// What is evaluated within the page: a list of sentences.
const PROBE: &str = include_str!("probe.js");

/// A reader's window.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Its name, and that of its picture.
    pub name: &'static str,
    size: (u32, u32),
    /// Pixels of the screen for one of the page.
    scale: u32,
    scheme: &'static str,
}

const PHONE: (u32, u32) = (390, 844);
const DESK: (u32, u32) = (1280, 900);

/// All of them.
pub const VIEWS: [View; 4] = [
    View { name: "phone-light", size: PHONE, scale: 2, scheme: "light" },
    View { name: "phone-dark", size: PHONE, scale: 2, scheme: "dark" },
    View { name: "desk-light", size: DESK, scale: 1, scheme: "light" },
    View { name: "desk-dark", size: DESK, scale: 1, scheme: "dark" },
];

/// A browser that looks at pages, one after the other.
pub struct Browser(Chromium);

impl Browser {
    /// Starts it.
    ///
    /// # Errors
    /// [`Error::Browser`], [`Error::Tree`]: it cannot be started.
    pub fn start() -> Result<Browser, Error> {
        Ok(Browser(Chromium::start()?))
    }

    /// What is wrong with the page `file`, in sentences that begin with the view.
    ///
    /// # Errors
    /// [`Error::Browser`]: it does not answer. [`Error::Tree`]: a picture cannot be written.
    pub fn check(&mut self, file: &Path) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        for view in VIEWS {
            let (found, picture) = look(&mut self.0, file, view)?;
            findings.extend(found.into_iter().map(|finding| format!("{}: {finding}", view.name)));
            let path = file.with_file_name(format!("{}.png", view.name));
            std::fs::write(&path, picture).map_err(qemu::Error::file(&path))?;
        }
        Ok(findings)
    }
}

/// What is wrong in one view, and the picture.
fn look(chromium: &mut Chromium, file: &Path, view: View) -> Result<(Vec<String>, Vec<u8>), Error> {
    let address = format!("file://{}", file.display());
    chromium.open()?;
    for domain in ["Page", "Runtime", "Log", "Network"] {
        chromium.ask(&format!("{domain}.enable"), json!({}))?;
    }
    let (width, height) = view.size;
    let metrics = json!({
        "width": width, "height": height, "deviceScaleFactor": view.scale, "mobile": view.size == PHONE,
    });
    chromium.ask("Emulation.setDeviceMetricsOverride", metrics)?;
    let scheme = json!({ "name": "prefers-color-scheme", "value": view.scheme });
    chromium.ask("Emulation.setEmulatedMedia", json!({ "features": [scheme] }))?;
    chromium.ask("Page.navigate", json!({ "url": address }))?;
    chromium.wait_for("Page.loadEventFired")?;
    let probe = json!({ "expression": PROBE, "returnByValue": true });
    let answer = chromium.ask("Runtime.evaluate", probe)?;
    let seen = &answer["result"]["value"];
    let mut findings = match (seen["findings"].as_array(), answer.get("exceptionDetails")) {
        (Some(list), None) => list.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect(),
        _ => vec![format!("the page cannot be looked at: {answer}")],
    };
    let clip = json!({ "x": 0, "y": 0, "width": width, "height": seen["height"], "scale": 1 });
    let shot = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
    let shot = chromium.ask("Page.captureScreenshot", shot)?;
    let picture = STANDARD.decode(shot["data"].as_str().unwrap_or_default()).unwrap_or_default();
    if picture.is_empty() {
        findings.push("there is no picture of it".to_owned());
    }
    findings.extend(chromium.close()?.iter().filter_map(|event| complaint(event, &address)));
    Ok((findings, picture))
}

/// What is wrong with an event: something that was asked for, or said.
fn complaint(event: &Value, address: &str) -> Option<String> {
    let (method, params) = (event["method"].as_str()?, &event["params"]);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match method {
        "Network.requestWillBeSent" => {
            let url = text(&params["request"]["url"]);
            (url != address).then(|| format!("it asks for {url}"))
        }
        "Runtime.exceptionThrown" => Some(format!("an exception: {}", params["exceptionDetails"])),
        "Runtime.consoleAPICalled" => Some(format!("on the console: {}", params["args"])),
        "Log.entryAdded" if params["entry"]["level"] != "verbose" => {
            Some(format!("in the log: {}", text(&params["entry"]["text"])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page itself may be asked for; anything else, and what the browser says, is a finding.
    #[test]
    fn events_are_judged() {
        let asked = |url: &str| json!({ "method": "Network.requestWillBeSent", "params": { "request": { "url": url } } });
        assert_eq!(complaint(&asked("file:///a"), "file:///a"), None);
        let finding = complaint(&asked("https://example.org/a.js"), "file:///a");
        assert_eq!(finding.unwrap(), "it asks for https://example.org/a.js");
        let logged = |level: &str| json!({ "method": "Log.entryAdded", "params": { "entry": { "level": level, "text": "x" } } });
        assert_eq!(complaint(&logged("verbose"), ""), None);
        assert_eq!(complaint(&logged("warning"), "").unwrap(), "in the log: x");
        let console = json!({ "method": "Runtime.consoleAPICalled", "params": { "args": ["x"] } });
        assert!(complaint(&console, "").is_some());
        assert_eq!(complaint(&json!({ "method": "Page.loadEventFired" }), ""), None);
    }
}
