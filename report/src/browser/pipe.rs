//! Chromium without a window, and what is said to it: messages of its DevTools protocol, JSON with a zero byte behind
//! each, through a pipe. It ends when the pipe is closed, so none is left behind, however this program ends.

use crate::error::Error;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// As long as an answer may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Nothing of a browser's own is to be asked for; root has no sandbox.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];
/// The protocol is spoken on descriptors 3 and 4, which are this program's pipes.
const SHELL: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// A browser with at most one page.
pub(super) struct Chromium {
    program: String,
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<Value>,
    events: VecDeque<Value>,
    asked: u64,
    /// The page: target, session.
    page: Option<(String, String)>,
    profile: PathBuf,
}

impl Chromium {
    /// Starts it with a new, empty profile.
    pub(super) fn start() -> Result<Chromium, Error> {
        let named = std::env::var("CHROMIUM").ok().filter(|name| !name.trim().is_empty());
        let program = named.unwrap_or_else(|| "chromium".to_owned());
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("quire-report-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&profile).map_err(qemu::Error::file(&profile))?;
        let log = profile.join("log");
        let said = std::fs::File::create(&log).map_err(qemu::Error::file(&log))?;
        let child = Command::new("sh")
            .args(["-c", SHELL, &program])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .map_err(|error| qemu::Error::Start(program.clone(), error))?;
        Ok(Chromium::talk(program, child, profile))
    }

    fn talk(program: String, mut child: Child, profile: PathBuf) -> Chromium {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, answers) = channel();
        // It ends with the pipe.
        std::thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let events = VecDeque::new();
        Chromium { program, child, stdin, answers, events, asked: 0, page: None, profile }
    }

    /// Opens an empty page; what is asked from then on is asked of it.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        let target = self.ask("Target.createTarget", json!({ "url": "about:blank" }))?;
        let target = target["targetId"].as_str().unwrap_or_default().to_owned();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.ask("Target.attachToTarget", attach)?;
        let session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        self.events.clear();
        self.page = Some((target, session));
        Ok(())
    }

    /// Closes the page, and gives all that has happened in it.
    pub(super) fn close(&mut self) -> Result<Vec<Value>, Error> {
        if let Some((target, _)) = self.page.take() {
            self.ask("Target.closeTarget", json!({ "targetId": target }))?;
        }
        Ok(self.events.drain(..).collect())
    }

    /// Asks for `method` and waits for the answer.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        self.asked += 1;
        let id = self.asked;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some((_, session)) = &self.page {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let written = self.stdin.as_mut().map(|stdin| stdin.write_all(&bytes).and_then(|()| stdin.flush()));
        if !matches!(written, Some(Ok(()))) {
            return Err(self.failed("does not run, or has ended"));
        }
        loop {
            let message = self.next()?;
            if message["id"] != id {
                self.events.push_back(message);
            } else if let Some(error) = message.get("error") {
                return Err(self.failed(&format!("does not do {method}: {error}")));
            } else {
                return Ok(message["result"].clone());
            }
        }
    }

    /// Waits for an event.
    pub(super) fn wait_for(&mut self, method: &str) -> Result<(), Error> {
        while !self.events.iter().any(|event| event["method"] == method) {
            let event = self.next()?;
            self.events.push_back(event);
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Value, Error> {
        self.answers.recv_timeout(PATIENCE).map_err(|_| self.failed("does not answer"))
    }

    fn failed(&self, what: &str) -> Error {
        let said = std::fs::read_to_string(self.profile.join("log")).unwrap_or_default();
        let tail = qemu::session::tail(&said, 8).to_owned();
        Error::Browser { program: self.program.clone(), what: what.to_owned(), tail }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends by itself as its pipe does; what is left of its children, too.
        drop(self.stdin.take());
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Files of a child that is about to end may appear meanwhile.
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
