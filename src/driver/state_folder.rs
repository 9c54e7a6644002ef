//! The folder in which a node keeps what it must not forget: its pins in `pins`, and the newest
//! revocation list in `revocations`. Both are texts.
//!
//! ```text
//! peerbase pins 2
//! network: plant
//! pin: peer-… sensor-7
//! ```
//!
//! A thread writes them, since the event loop must not wait for a disk: at once if nothing was
//! written for a while, and otherwise when [`STATE_PAUSE`] is over, or when the node is dropped.
//! A file that cannot be written is tried again after that time.

use crate::atomic_file;
use crate::authority::RevocationList;
use crate::engine::Keep;
use crate::error::Error;
use crate::identity::PublicKey;
use crate::limits::{PINS_MAX, STATE_FILE_MAX, STATE_PAUSE};
use crate::logging::record;
use crate::name::{NetworkName, NodeName};
use crate::signals;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

const HEAD: &str = "peerbase pins 2";

/// What a folder holds when a node starts.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) pins: Vec<(NodeName, PublicKey)>,
    pub(crate) list: Option<RevocationList>,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Waiting {
    pins: BTreeMap<NodeName, PublicKey>,
    list: Option<RevocationList>,
    pins_changed: bool,
    list_changed: bool,
    /// Whether the node is gone.
    is_over: bool,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    network: NetworkName,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct StateFolder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl StateFolder {
    /// Makes the folder if it is not there, and reads what it holds. A damaged file is set aside,
    /// which is an [`Error::Damaged`]; the next start goes on without it.
    pub(crate) fn open(folder: &Path, network: &NetworkName) -> Result<(StateFolder, Kept), Error> {
        let failed = |e: io::Error| Error::io("opening the state folder", &e);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let pins = load(&folder.join("pins"), |text| read_pins(text, network))?;
        let list = load(&folder.join("revocations"), |text| {
            let list = RevocationList::parse(text).map_err(|e| e.to_string())?;
            match list.network() == network {
                true => Ok(list),
                false => Err("it is that of another network".into()),
            }
        })?;
        let kept = Kept {
            pins: pins.unwrap_or_default(),
            list,
        };
        let waiting = Waiting {
            pins: kept.pins.iter().cloned().collect(),
            ..Waiting::default()
        };
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            network: network.clone(),
            waiting: Mutex::new(waiting),
            changed: Condvar::new(),
        });
        let writes = shared.clone();
        let thread = signals::spawn("peerbase-state", move || writes.write_until_over());
        let thread = thread.map_err(|e| Error::io("starting a thread", &e))?;
        let folder = StateFolder {
            shared,
            thread: Some(thread),
        };
        Ok((folder, kept))
    }

    /// Has something kept.
    pub(crate) fn keep(&self, what: Keep) {
        let mut waiting = self.shared.lock();
        match what {
            Keep::Pin(name, key) => {
                waiting.pins.insert(name, key);
                waiting.pins_changed = true;
            }
            Keep::List(list) => {
                waiting.list = Some(list);
                waiting.list_changed = true;
            }
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for StateFolder {
    /// Writes what is not written yet.
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended as well, and has said so in the log.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_over(&self) {
        let mut waiting = self.lock();
        loop {
            while !waiting.pins_changed && !waiting.list_changed && !waiting.is_over {
                let woken = self.changed.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            let pins = std::mem::take(&mut waiting.pins_changed)
                .then(|| pins_text(&self.network, &waiting.pins));
            let list = std::mem::take(&mut waiting.list_changed)
                .then(|| waiting.list.as_ref().map(RevocationList::to_text));
            drop(waiting);
            let failed_pins = !self.write("pins", pins);
            let failed_list = !self.write("revocations", list.flatten());
            waiting = self.lock();
            if waiting.is_over && !waiting.pins_changed && !waiting.list_changed {
                return;
            }
            waiting.pins_changed |= failed_pins;
            waiting.list_changed |= failed_list;
            let until = Instant::now() + STATE_PAUSE;
            while !waiting.is_over && Instant::now() < until {
                let left = until.saturating_duration_since(Instant::now());
                let woken = self.changed.wait_timeout(waiting, left);
                waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Writes a file, if there is something to write. Says whether that went well.
    fn write(&self, file: &str, text: Option<String>) -> bool {
        let Some(text) = text else {
            return true;
        };
        let file = self.folder.join(file);
        let written = atomic_file::replace(&file, text.as_bytes());
        if let Err(e) = &written {
            record!(Error, "{} could not be written: {e}", file.display());
        }
        written.is_ok()
    }
}

fn pins_text(network: &NetworkName, pins: &BTreeMap<NodeName, PublicKey>) -> String {
    let mut text = format!("{HEAD}\nnetwork: {network}\n");
    for (name, key) in pins {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "pin: {} {name}", key.to_text());
    }
    text
}

fn read_pins(text: &str, network: &NetworkName) -> Result<Vec<(NodeName, PublicKey)>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err("it does not begin like a file of pins".into());
    }
    let named = lines.next().and_then(|line| line.strip_prefix("network: "));
    if named != Some(network.as_str()) {
        return Err("it is that of another network".into());
    }
    let pin = |line: &str| {
        let (key, name) = line.strip_prefix("pin: ")?.split_once(' ')?;
        Some((NodeName::new(name).ok()?, PublicKey::parse(key).ok()?))
    };
    let pins: Option<Vec<_>> = lines.take(PINS_MAX).map(pin).collect();
    pins.ok_or_else(|| "a line is no pin".into())
}

/// Reads a file, if it is there.
fn load<T>(file: &Path, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Error> {
    let failed = |e: io::Error| Error::io("reading the state folder", &e);
    let Some(bytes) = atomic_file::read(file, STATE_FILE_MAX).map_err(failed)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8".to_owned());
    let why = match text.and_then(read) {
        Ok(read) => return Ok(Some(read)),
        Err(why) => why,
    };
    let aside = atomic_file::set_aside(file).map_err(failed)?;
    Err(Error::Damaged(format!(
        "{}: {why}; it is kept as {}, and the next start goes on without it",
        file.display(),
        aside.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::identity::Identity;
    use crate::secret_file::tests::Folder;
    use std::fs;

    fn network() -> NetworkName {
        NetworkName::new("plant").unwrap()
    }

    fn open(folder: &Path) -> Result<(StateFolder, Kept), Error> {
        StateFolder::open(folder, &network())
    }

    #[test]
    fn what_is_kept_is_there_after_the_next_start() {
        let folder = Folder::new("state-folder");
        let (at, key) = (
            folder.0.join("a/b"),
            Identity::from_seed([1; 32]).public_key(),
        );
        let (state, kept) = open(&at).unwrap();
        assert!(kept.pins.is_empty() && kept.list.is_none());
        let pins: Vec<_> = ["sensor-7", "the roof"]
            .map(|name| (NodeName::new(name).unwrap(), key))
            .into();
        for (name, key) in &pins {
            state.keep(Keep::Pin(name.clone(), *key));
        }
        let list = Authority::from_seed([1; 32]).revoke(&network(), None, &[]);
        let list = list.unwrap();
        state.keep(Keep::List(list.clone()));
        drop(state);
        let (state, kept) = open(&at).unwrap();
        assert_eq!((kept.pins, kept.list), (pins.clone(), Some(list)));
        let other = Identity::from_seed([2; 32]).public_key();
        state.keep(Keep::Pin(pins[0].0.clone(), other));
        drop(state);
        let (_state, kept) = open(&at).unwrap();
        assert_eq!(kept.pins, [(pins[0].0.clone(), other), pins[1].clone()]);
    }

    #[test]
    fn a_damaged_file_is_told_and_set_aside() {
        let folder = Folder::new("state-damaged");
        let key = Identity::from_seed([1; 32]).public_key().to_text();
        let (pins, list) = (folder.0.join("pins"), folder.0.join("revocations"));
        for (file, text) in [
            (&pins, "peerbase pins 2\nnetwork: field\n"),
            (&pins, "peerbase pins 2\nnetwork: plant\npin: sensor-7\n"),
            (&pins, &format!("network: plant\npin: {key} a\n")),
            (&list, "peerbase revocations 2\nnetwork: plant\n"),
        ] {
            fs::write(file, text).unwrap();
            let damaged = open(&folder.0).unwrap_err();
            assert!(matches!(damaged, Error::Damaged(_)), "{text}: {damaged}");
            assert!(!file.exists() && atomic_file::beside(file, ".damaged").exists());
            assert!(open(&folder.0).is_ok(), "the next start");
        }
    }
}
