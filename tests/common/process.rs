//! Programs that the tests run. What they say is taken in as it comes, so that none ever waits for
//! its reader; each is waited for up to a deadline; and each is ended by its own id.

use super::{Lan, secs, wait::Deadline};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What a program wrote, read by a thread of its own.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    /// How much of it was given as lines.
    taken: usize,
    over: bool,
}

impl Heard {
    fn line(&mut self) -> Option<String> {
        let rest = &self.bytes[self.taken..];
        let len = match memchr::memchr(b'\n', rest) {
            Some(end) => end + 1,
            None if self.over && !rest.is_empty() => rest.len(),
            None => return None,
        };
        let line = String::from_utf8_lossy(&rest[..len]).trim_end().to_owned();
        self.taken += len;
        Some(line)
    }
}

#[derive(Default)]
struct Pipe {
    heard: Mutex<Heard>,
    changed: Condvar,
}

impl Pipe {
    fn new(mut from: impl Read + Send + 'static) -> Arc<Pipe> {
        let pipe = Arc::new(Pipe::default());
        let fills = pipe.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 64 * 1024];
            loop {
                let n = from.read(&mut buf).unwrap_or(0);
                let mut heard = fills.heard.lock().unwrap();
                heard.bytes.extend_from_slice(&buf[..n]);
                heard.over = n == 0;
                fills.changed.notify_all();
                if heard.over {
                    return;
                }
            }
        });
        pipe
    }

    /// Waits until `get` finds something, at most that long, and not after the end.
    fn wait<T>(&self, time: Duration, mut get: impl FnMut(&mut Heard) -> Option<T>) -> Option<T> {
        let end = Instant::now() + time;
        let mut heard = self.heard.lock().unwrap();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match get(&mut heard) {
                None if !heard.over && !left.is_zero() => {}
                found => return found,
            }
            heard = self.changed.wait_timeout(heard, left).unwrap().0;
        }
    }

    fn all(&self) -> Vec<u8> {
        self.heard.lock().unwrap().bytes.clone()
    }
}

/// A program in a process of its own, most often `peerbase` itself. Ended when dropped.
pub struct Tool {
    name: String,
    child: Child,
    out: Arc<Pipe>,
    err: Arc<Pipe>,
    port: u16,
}

/// How long a program that has hung is given to say goodbye, and what its own children may take.
const GRACE: Duration = secs(2);

impl Tool {
    /// Starts a `peerbase node`, by `program` with `before` in front of the tool's own arguments,
    /// and waits until it takes part.
    pub fn node(program: &str, before: &[&str], name: &str, lan: &Lan) -> Tool {
        Tool::with_args(program, before, name, &lan.args())
    }

    pub fn with_args(program: &str, before: &[&str], name: &str, args: &[String]) -> Tool {
        let mut command = Command::new(program);
        command.args(before).args(["node", name]).args(args);
        let (mut tool, ready) = Tool::start(command);
        tool.port = ready.rsplit(' ').next().unwrap().parse().unwrap();
        tool
    }

    /// A `peerbase relay`, and where it listens.
    pub fn relay(program: &str, before: &[&str], args: &[&str]) -> (Tool, String) {
        let mut command = Command::new(program);
        command.args(before).arg("relay").args(args);
        let (tool, ready) = Tool::start(command);
        (tool, ready.rsplit(' ').next().unwrap().to_owned())
    }

    /// Starts one and waits until it is ready, which it says in the line that is given.
    pub fn start(command: Command) -> (Tool, String) {
        let mut tool = Tool::spawn(command);
        let ready = tool.wait_for("is ready");
        (tool, ready)
    }

    /// Starts another program that says on its standard output that it is ready, in the line that
    /// is given.
    pub fn start_saying(command: Command) -> (Tool, String) {
        let mut tool = Tool::spawn(command);
        let line = tool.hear();
        if !line.contains("ready") {
            tool.fail("its first line to say that it is ready");
        }
        (tool, line)
    }

    pub fn spawn(mut command: Command) -> Tool {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Tool {
            name: format!("{command:?}"),
            out: Pipe::new(child.stdout.take().unwrap()),
            err: Pipe::new(child.stderr.take().unwrap()),
            child,
            port: 0,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it says nothing more, in either way, until it ends.
    pub fn says_no_more(&mut self) -> bool {
        self.wait_over("its output to end");
        let more = |pipe: &Pipe| pipe.wait(Duration::ZERO, Heard::line).is_some();
        !more(&self.out) && !more(&self.err)
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait("to end when it was killed");
    }

    pub fn send_signal(&self, signal: &str) {
        let signal: Signal = format!("SIG{signal}").parse().unwrap();
        kill(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn say(&mut self, line: &str) {
        let written = writeln!(self.child.stdin.as_mut().unwrap(), "{line}");
        if let Err(e) = written {
            self.fail(&format!("{line:?} to be taken: {e}"));
        }
    }

    pub fn take_input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The next result.
    pub fn hear(&mut self) -> String {
        let deadline = Deadline::new("");
        match self.out.wait(deadline.left(), Heard::line) {
            Some(line) => line,
            None => self.fail("a line on its standard output"),
        }
    }

    /// The next result, if one comes in that time.
    pub fn hear_within(&mut self, time: Duration) -> Option<String> {
        self.out.wait(time, Heard::line)
    }

    /// Waits for words that hold `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Deadline::new("");
        let found = self.err.wait(deadline.left(), |heard| {
            std::iter::from_fn(|| heard.line()).find(|line| line.contains(text))
        });
        match found {
            Some(line) => line,
            None => self.fail(&format!("{text:?} on its standard error")),
        }
    }

    pub fn signal(&mut self, signal: &str) -> ExitStatus {
        self.send_signal(signal);
        self.wait(&format!("to end by SIG{signal}"))
    }

    /// Asks it to end, and wants it to end well.
    pub fn stop(mut self) {
        if !self.signal("TERM").success() {
            self.fail("to end well");
        }
    }

    pub fn wait(&mut self, what: &str) -> ExitStatus {
        match ended(&mut self.child, super::wait::PATIENCE) {
            Some(status) => status,
            None => self.fail(what),
        }
    }

    fn wait_over(&mut self, what: &str) {
        let deadline = Deadline::new("");
        for pipe in [self.out.clone(), self.err.clone()] {
            let over = pipe.wait(deadline.left(), |heard| heard.over.then_some(()));
            if over.is_none() {
                self.fail(what);
            }
        }
    }

    /// Waits for its end, and gives all that it said.
    pub fn output(mut self) -> Output {
        self.close_input();
        let status = self.wait("to end");
        self.wait_over("its output to end");
        Output {
            status,
            stdout: self.out.all(),
            stderr: self.err.all(),
        }
    }

    /// Ends it, and the test with all that it said.
    pub fn fail(&mut self, what: &str) -> ! {
        let status = ended(&mut self.child, Duration::ZERO);
        self.end();
        let [out, err] = [&self.out, &self.err].map(|pipe| {
            pipe.wait(GRACE, |heard| heard.over.then_some(()));
            String::from_utf8_lossy(&pipe.all()).into_owned()
        });
        let how = status.map_or("it was still running".into(), |s| {
            format!("it had ended: {s}")
        });
        let name = &self.name;
        panic!(
            "{name}\nwaited for: {what}; {how}\nstandard output:\n{out}\nstandard error:\n{err}"
        );
    }

    /// Asks it first, so that it can end its own children.
    fn end(&mut self) {
        if ended(&mut self.child, Duration::ZERO).is_none() {
            let _ = kill(self.pid(), Signal::SIGTERM);
        }
        if ended(&mut self.child, GRACE).is_none() {
            let _ = self.child.kill();
            ended(&mut self.child, GRACE);
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        ended(&mut self.child, GRACE);
    }
}

/// How a child ended, if it does within that time.
fn ended(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + time;
    loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            status => return status,
        }
    }
}

/// Runs a program to its end.
pub fn output(command: Command) -> Output {
    Tool::spawn(command).output()
}

/// What a program said that must have ended well.
pub fn check(command: Command) -> String {
    let name = format!("{command:?}");
    let output = output(command);
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success(),
        "{name}: {}\n{out}\n{err}",
        output.status
    );
    out.into_owned()
}

/// Runs an example that streams its input to a peer, which must come back in capitals; what it was
/// given.
pub fn assert_shouted(command: Command) -> String {
    let text = "what is streamed comes back in capitals\n".repeat(50_000);
    let mut client = Tool::spawn(command);
    let mut input = client.take_input();
    let given = text.clone();
    let writer = std::thread::spawn(move || input.write_all(given.as_bytes()));
    let output = client.output();
    let written = super::join(writer, "its input to be taken");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, format!("{} bytes\n", text.len()));
    assert!(written.is_ok() && output.status.success());
    assert!(output.stdout == text.to_uppercase().as_bytes());
    text
}

/// Whether `program` can be used. When it cannot, the test says that it is skipped; with
/// `PEERBASE_REQUIRE` set, as in CI, that is a failure.
pub fn have(program: &str, args: &[&str], for_what: &str) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    let there = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let works = there.is_ok_and(|mut child| {
        let status = ended(&mut child, super::wait::PATIENCE);
        let _ = child.kill();
        status.is_some_and(|s| s.success())
    });
    if !works {
        assert!(
            std::env::var_os("PEERBASE_REQUIRE").is_none(),
            "{program} is required for {for_what}"
        );
        eprintln!("skipped: {for_what} needs {program} {}", args.join(" "));
    }
    works
}

/// Takes a network namespace down, if it is there.
pub fn take_down(namespace: &str) {
    let mut command = Command::new("ip");
    command.args(["netns", "del", namespace]);
    output(command);
}

/// Runs `ip` with these words, which must work.
pub fn ip(line: &str) {
    let mut command = Command::new("ip");
    command.args(line.split(' '));
    check(command);
}
