//! The command line program's identities, certificates and revocation lists.

mod common;

use common::{Folder, Lan, Tool, output};
use peerbase::{
    Authority, AuthorityKey, Certificate, Identity, Key, OsEntropy, PublicKey, RevocationList,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const TOOL: &str = env!("CARGO_BIN_EXE_peerbase");

/// Runs the program in a folder: its exit status, and what it said on stdout and stderr.
fn run(folder: &Folder, line: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(TOOL);
    command.args(line.split(' ')).current_dir(&folder.0);
    let output = output(command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// As `run`, of what succeeds: what it said on stdout.
fn said(folder: &Folder, line: &str) -> String {
    let (code, said, words) = run(folder, line);
    assert_eq!(code, Some(0), "{line}: {words}");
    said
}

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn an_identity_is_made_once_and_its_public_half_shown() {
    let folder = Folder::new("tool-identity");
    let file = folder.0.join("sensor");
    let made = object(&said(&folder, "identity new sensor"));
    let key = Identity::load(&file).unwrap().public_key();
    let wanted = json!({"key": key.to_text(), "fingerprint": key.fingerprint().to_string()});
    assert_eq!((made, mode(&file)), (wanted.clone(), 0o600));
    assert_eq!(object(&said(&folder, "identity show sensor")), wanted);
    let (code, _, words) = run(&folder, "identity new sensor");
    assert!(code == Some(1) && words.contains("sensor"), "{words}");
    assert_eq!(
        Identity::load(&file).unwrap().public_key(),
        key,
        "it is still there"
    );
    assert_eq!(folder.names(), ["sensor"]);

    let (code, secret, words) = run(&folder, "identity new");
    let key = Identity::parse(&secret).unwrap().public_key();
    assert_eq!((code, secret.lines().count()), (Some(0), 1));
    assert!(
        words.contains(&key.to_text()) && !words.contains(secret.trim()),
        "{words}"
    );
}

#[test]
fn an_identity_that_others_may_read_is_a_warning_and_an_error_if_that_is_asked() {
    let folder = Folder::new("tool-identity-mode");
    let made = said(&folder, "identity new sensor");
    let file = folder.0.join("sensor");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let call = "call --network n --no-lan --timeout 0.1 --identity sensor a b";
    let key = Key::generate(&mut OsEntropy::new().unwrap());
    let call = format!("{call} --key {}", *key.to_text());
    // Nobody answers the call, so its status says nothing.
    for (line, lenient) in [("identity show sensor", Some(0)), (&call, Some(1))] {
        let (code, shown, words) = run(&folder, line);
        assert_eq!(code, lenient, "{words}");
        assert!(words.contains("warning") && words.contains("chmod 600"));
        assert!(!line.starts_with("identity") || shown == made);
        let (code, _, words) = run(&folder, &format!("{line} --strict"));
        assert!(code == Some(1) && words.contains("chmod 600"), "{words}");
        assert!(!words.contains("warning"), "{words}");
    }
    assert_eq!(mode(&file), 0o640);
}

/// An authority of the network plant in the file `plant`, and its public key.
fn authority(folder: &Folder, file: &str) -> AuthorityKey {
    let key = said(folder, &format!("authority new {file}"));
    assert_eq!(mode(&folder.0.join(file)), 0o600);
    AuthorityKey::parse(key.trim()).unwrap()
}

/// Has a certificate signed for a new identity, and keeps it in a file of the node's name.
fn certified(folder: &Folder, name: &str, options: &str) -> Certificate {
    let made = object(&said(folder, &format!("identity new {name}.identity")));
    let key = made["key"].as_str().unwrap();
    let line = format!("authority sign plant --network plant --name {name} --key {key}{options}");
    let text = said(folder, &line);
    folder.write(name, text.as_bytes());
    let certificate = Certificate::parse(&text).unwrap();
    assert_eq!(*certificate.key(), PublicKey::parse(key).unwrap());
    certificate
}

#[test]
fn an_authority_signs_certificates() {
    let folder = Folder::new("tool-authority");
    let key = authority(&folder, "plant");
    assert_eq!(Authority::load(folder.0.join("plant")).unwrap().key(), key);
    let (code, _, _) = run(&folder, "authority new plant");
    assert_eq!(code, Some(1), "it is there already");
    assert_eq!(Authority::load(folder.0.join("plant")).unwrap().key(), key);

    let signed = certified(&folder, "sensor-7", " --role writer --role reader");
    assert_eq!(signed.verify(&[key], signed.network()), Ok(()));
    let roles: Vec<&str> = signed.roles().iter().map(|role| role.as_str()).collect();
    assert_eq!(roles, ["reader", "writer"]);
    let said = (
        signed.network().as_str(),
        signed.name().as_str(),
        signed.list(),
    );
    assert_eq!(said, ("plant", "sensor-7", 0));
}

#[test]
fn revocation_makes_the_list_and_says_what_it_does_not_do() {
    let folder = Folder::new("tool-revoke");
    let key = authority(&folder, "plant");
    let (a, b) = (certified(&folder, "a", ""), certified(&folder, "b", ""));
    let revoke = "authority revoke plant --network plant --list list";
    let (code, first, words) = run(&folder, &format!("{revoke} a"));
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(
        object(&first),
        json!({"network": "plant", "version": 1, "revoked": 1})
    );
    for part in [
        "still has the network's key",
        "peerbase keygen",
        "Remove the old key",
    ] {
        assert!(words.contains(part), "{words}");
    }
    let read = || {
        let text = fs::read_to_string(folder.0.join("list")).unwrap();
        RevocationList::parse(&text).unwrap()
    };
    assert!(read().contains(&a.hash()) && !read().contains(&b.hash()));
    let later = certified(&folder, "c", " --list list");
    assert_eq!(later.list(), 1);

    let second = object(&said(&folder, &format!("{revoke} b c")));
    assert_eq!(
        (&second["version"], &second["revoked"]),
        (&2.into(), &3.into())
    );
    assert!([a, b, later].iter().all(|one| read().contains(&one.hash())));
    assert_eq!(read().verify(&[key], read().network()), Ok(()));
    let shown = said(
        &folder,
        &format!("authority list list --authority {}", key.to_text()),
    );
    let wanted = json!({"network": "plant", "version": 2, "revoked": 3, "signed": true});
    assert_eq!(object(&shown), wanted);
    assert_eq!(
        object(&said(&folder, "authority list list"))["signed"],
        Value::Null
    );
    let names = folder.names();
    assert!(
        !names.iter().any(|name| name.ends_with(".new")),
        "{names:?}"
    );
}

#[test]
fn an_authority_goes_on_with_the_list_of_the_one_that_it_replaces() {
    let folder = Folder::new("tool-replace");
    let old = authority(&folder, "plant").to_text();
    let new = authority(&folder, "next").to_text();
    certified(&folder, "a", "");
    said(
        &folder,
        "authority revoke plant --network plant --list list a",
    );
    let next = "authority revoke next --network plant --list list";
    let before = fs::read(folder.0.join("list")).unwrap();
    let (code, _, words) = run(&folder, &format!("{next} a"));
    assert!(
        code == Some(1) && words.contains("list: refused"),
        "{words}"
    );
    assert_eq!(fs::read(folder.0.join("list")).unwrap(), before);
    let taken = object(&said(&folder, &format!("{next} --authority {old}")));
    assert_eq!(
        (&taken["version"], &taken["revoked"]),
        (&2.into(), &1.into())
    );
    let list = |key: &str| run(&folder, &format!("authority list list --authority {key}"));
    assert_eq!(list(&new).0, Some(0));
    let (code, shown, words) = list(&old);
    assert_eq!((code, &object(&shown)["signed"]), (Some(1), &false.into()));
    assert!(words.contains("none of the given authorities"), "{words}");
    assert_eq!(list(&format!("{old} --authority {new}")).0, Some(0));
}

/// Command lines that fail, and a part of what is said of each.
const WRONG: [(&str, &str); 13] = [
    (
        "authority revoke plant --network plant --list list altered",
        "altered: refused",
    ),
    (
        "authority revoke plant --network field --list list a",
        "a: refused",
    ),
    (
        "authority revoke other --network plant --list list a",
        "a: refused",
    ),
    (
        "authority revoke plant --network plant --list list plant",
        "plant: damaged",
    ),
    (
        "authority revoke plant --network plant --list list none",
        "none: there is no such file",
    ),
    ("authority revoke a --network plant --list list a", "a: "),
    (
        "authority revoke plant --network plant --list no/such/list a",
        "no/such/list: ",
    ),
    (
        "authority revoke plant --network plant --list a a",
        "a: damaged",
    ),
    ("authority list none", "none: there is no such file"),
    ("authority list a", "a: damaged"),
    (
        "authority list a --authority authority-short",
        "44 characters",
    ),
    ("authority new no/such/file", "no/such/file"),
    ("identity show none", "none: "),
];

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let folder = Folder::new("tool-wrong");
    authority(&folder, "plant");
    authority(&folder, "other");
    let certificate = certified(&folder, "a", "");
    let key = certificate.key().to_text();
    folder.write(
        "altered",
        certificate
            .to_text()
            .replace("name: a", "name: b")
            .as_bytes(),
    );
    let sign = format!("authority sign plant --network plant --name a --key {key}");
    let of_sign = [
        (format!("{sign} --list none"), "none: there is no such file"),
        (format!("{sign} --role Reader"), "a role must be"),
        (
            sign.replace("--network plant", "--network a|b"),
            "invalid network name",
        ),
        (sign.replace("peer-", "identity-"), "secret"),
    ];
    let of_sign = of_sign.iter().map(|(line, words)| (line.as_str(), *words));
    for (line, words) in WRONG.into_iter().chain(of_sign) {
        let (code, said, told) = run(&folder, line);
        assert_eq!((code, said.as_str()), (Some(1), ""), "{line}: {told}");
        assert!(told.contains(words), "{line}: {told}");
        assert!(!told.contains("usage:"), "{line}: {told}");
    }
    assert_eq!(
        folder.names(),
        ["a", "a.identity", "altered", "other", "plant"]
    );
}

#[test]
fn a_wrong_command_line_shows_how_it_is_used() {
    let folder = Folder::new("tool-usage");
    for line in [
        "identity",
        "identity fly",
        "identity show",
        "identity new a b",
        "authority",
        "authority fly",
        "authority new",
        "authority new a b",
        "authority new a --network plant",
        "authority sign plant --network plant --name a",
        "authority sign --network plant --name a --key k",
        "authority sign plant --name a --key k",
        "authority revoke plant --network plant a",
        "authority revoke plant --network plant --list list",
        "authority revoke plant --list list a",
        "authority list",
    ] {
        let (code, _, told) = run(&folder, line);
        assert!(code == Some(2) && told.contains("usage:"), "{line}: {told}");
    }
}

#[test]
fn nodes_of_a_certified_network_are_run_and_revoked_with_the_tool() {
    let (lan, folder) = (Lan::new(), Folder::new("tool-certified"));
    let authority = said(&folder, "authority new plant").trim().to_owned();
    for name in ["a", "b", "c"] {
        let made = object(&said(&folder, &format!("identity new {name}.identity")));
        let key = made["key"].as_str().unwrap();
        let sign = format!("authority sign plant --network test --name {name} --key {key}");
        let signed = said(&folder, &sign);
        fs::write(folder.0.join(format!("{name}.certificate")), signed).unwrap();
    }
    let file = |name: &str| folder.0.join(name).display().to_string();
    let args = |name: &str| {
        let mut args = lan.args();
        let options = [
            ("--identity", file(&format!("{name}.identity"))),
            ("--authority", authority.clone()),
            ("--certificate", file(&format!("{name}.certificate"))),
            ("--state", file(&format!("{name}.state"))),
        ];
        for (option, value) in options {
            args.extend([option.to_owned(), value]);
        }
        args
    };
    let mut a = Tool::with_args(TOOL, &[], "a", &args("a"));
    let mut b = Tool::with_args(TOOL, &[], "b", &args("b"));
    let call = |name: &str, target: &str| {
        let mut command = Command::new(TOOL);
        command.args(["call", target, "__echo__", "1", "--timeout", "20"]);
        let output = output({
            command.args(args(name));
            command
        });
        let words = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), words)
    };
    for target in ["a", "b"] {
        let (is_answered, words) = call("c", target);
        assert!(is_answered, "{words}");
    }
    said(
        &folder,
        "authority revoke plant --network test --list revoked c.certificate",
    );
    a.say(&format!("revoke {}", file("revoked")));
    assert_eq!(a.hear(), r#"{"new":true,"version":1}"#);
    b.wait_for("revocation list 1 has come");
    let mut command = Command::new(TOOL);
    command.args(["call", "b", "__echo__", "1", "--timeout", "2"]);
    command.args(args("c"));
    let refused = output(command);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && words.contains("was revoked"),
        "{words}"
    );
    a.say("pins");
    a.say("accept b peer-");
    a.wait_for("peer-");
    assert!(a.signal("TERM").success() && b.signal("TERM").success());
    assert!(folder.0.join("b.state/revocations").exists());
}
