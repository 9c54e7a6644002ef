//! Who may go by which name: certificates, pins and revocation, before the start and while a node
//! runs; and keys that are replaced.

use super::config::{change, peerbase_config};
use super::error::guard;
use super::handle::{empty, text};
use super::mesh::one_json;
use super::node::{node, peerbase_node};
use super::reply::peerbase_reply;
use crate::authority::{AuthorityKey, Certificate, RevocationList};
use crate::error::Error;
use crate::fernet::Key;
use crate::identity::{Identity, PublicKey};
use crate::json_object::{Object, list};
use crate::limits::KEYS_MAX;
use std::ffi::{c_char, c_int};

/// Adds the public key of an authority, "authority-" and 44 characters; at most 2. From then on the
/// network is a certified one for this node: a peer must show a certificate that one of these
/// authorities has signed. All nodes of a network must be given the same authorities. A node with
/// an authority needs `peerbase_config_set_certificate` and an identity, and does not speak to
/// nodes of PeerBase 0.7.1. `key` is copied and must not be NULL. One thread at a time may use
/// `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or
/// PEERBASE_ERR_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_add_authority(
    config: *mut peerbase_config,
    key: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let key = unsafe { text(key, "key is NULL") }?;
        let b = b.authority(AuthorityKey::parse(key)?);
        b.check().map(|()| b)
    })
}

/// Sets the certificate that the node shows: the whole text that `peerbase authority sign` prints,
/// at most 1024 bytes. It must be that of the network, the name and the identity of the node, or
/// else the node does not start (PEERBASE_ERR_REFUSED). `certificate` is copied and must not be
/// NULL. One thread at a time may use `config`, which must not be NULL. Returns 0,
/// PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_DAMAGED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_certificate(
    config: *mut peerbase_config,
    certificate: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let certificate = unsafe { text(certificate, "certificate is NULL") }?;
        Ok(b.certificate(Certificate::parse(certificate)?))
    })
}

/// Sets a revocation list that the node has from the start on: the whole text of the file that
/// `peerbase authority revoke` writes, at most 262144 bytes. See `peerbase_node_revoke`. `list` is
/// copied and must not be NULL. One thread at a time may use `config`, which must not be NULL.
/// Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_DAMAGED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_revocations(
    config: *mut peerbase_config,
    list: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let list = unsafe { text(list, "list is NULL") }?;
        Ok(b.revocation_list(RevocationList::parse(list)?))
    })
}

/// Sets the folder in which the node keeps what it must not forget: which names belong to which
/// keys, and the newest revocation list. The node makes the folder if it is not there; it belongs
/// to one node. Each file is replaced as a whole, at most once a minute, and what is left is
/// written when the node is freed. Without a folder, names are pinned to keys until the node ends.
/// If a file there is damaged, the node does not start (PEERBASE_ERR_DAMAGED) and keeps the file
/// aside, and the next start goes on without it. `path` is copied and must not be NULL. One thread
/// at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT or
/// PEERBASE_ERR_UTF8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_config_set_state_dir(
    config: *mut peerbase_config,
    path: *const c_char,
) -> c_int {
    change(config, |b| {
        // SAFETY: the header asks for a NUL-terminated string.
        let path = unsafe { text(path, "path is NULL") }?;
        Ok(b.state_dir(path))
    })
}

/// Says that from now on a name belongs to this key in an open network, whatever it belonged to:
/// after PEERBASE_EVENT_DISTRUSTED, if the node that has the name was given a new identity. Compare
/// the fingerprints first. Sessions with nodes of that name that have another key are closed.
/// `name` is the node's; `key` is its public key, "peer-" and 44 characters. Both are copied and
/// must not be NULL. Any thread. Returns 0, PEERBASE_ERR_NAME, PEERBASE_ERR_KEY,
/// PEERBASE_ERR_ARGUMENT also in a certified network, PEERBASE_ERR_OVERLOADED if 4096 other names
/// belong to keys, PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_accept_key(
    handle: *mut peerbase_node,
    name: *const c_char,
    key: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NUL-terminated strings.
        let (name, key) = unsafe { (text(name, "name is NULL")?, text(key, "key is NULL")?) };
        node(handle)?.accept_key(name, &PublicKey::parse(key)?)
    })
}

/// Gives the names that belong to a key. `*out` is a reply of one entry, which the program frees
/// with `peerbase_reply_free`; after a failure it is NULL. Its JSON is a list of objects with
/// "name", "key" and "fingerprint", in the order of the names, and empty in a certified network.
/// `out` must not be NULL. Any thread. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_pins(
    handle: *mut peerbase_node,
    out: *mut *mut peerbase_reply,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or room for a pointer.
        unsafe { empty(out, std::ptr::null_mut()) };
        if out.is_null() {
            return Err(Error::Argument("out is NULL"));
        }
        let node = node(handle)?;
        let pins = node.pins()?;
        let pin = pins.iter().map(|(name, key)| {
            let mut object = Object::new();
            object.text("name", name.as_str());
            object.text("key", &key.to_text());
            object.text("fingerprint", &key.fingerprint().to_string());
            object.into_text()
        });
        one_json(&node, list(pin).into_bytes(), out)
    })
}

/// Gives a node of a certified network a revocation list: the whole text of the file that
/// `peerbase authority revoke` writes. If the list is newer than the one that the node has, it
/// closes the sessions of the nodes that the list names at once, and hands it on to every other
/// node, which does the same. `list` is copied and must not be NULL. `*is_new`, if `is_new` is not
/// NULL, is set to whether the list is newer, and to false after a failure. Any thread. Returns 0,
/// PEERBASE_ERR_REFUSED if no authority that the node knows has signed the list for this network,
/// PEERBASE_ERR_DAMAGED, PEERBASE_ERR_ARGUMENT also in an open network, PEERBASE_ERR_UTF8 or
/// PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_revoke(
    handle: *mut peerbase_node,
    list: *const c_char,
    is_new: *mut bool,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or room for a bool.
        unsafe { empty(is_new, false) };
        // SAFETY: the header asks for a NUL-terminated string.
        let list = RevocationList::parse(unsafe { text(list, "list is NULL") }?)?;
        let taken = node(handle)?.revoke(&list)?;
        if !is_new.is_null() {
            // SAFETY: the header asks for NULL or room for a bool.
            unsafe { is_new.write(taken) };
        }
        Ok(())
    })
}

/// Sets the keys of the network, in place of all that were set before: the first seals, and the
/// others are understood. Sessions go on. `keys` has `count` keys, 1 to 4, as for
/// `peerbase_config_new`; they are copied, and none may be NULL. To replace a key without
/// interrupting the network, give every node the new one as its second key, then as its first, and
/// then take the old one away. Any thread. Returns 0, PEERBASE_ERR_KEY, PEERBASE_ERR_ARGUMENT,
/// PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_set_keys(
    handle: *mut peerbase_node,
    keys: *const *const c_char,
    count: usize,
) -> c_int {
    guard(|| {
        if keys.is_null() || count == 0 || count > KEYS_MAX {
            return Err(Error::Argument("a network has 1 to 4 keys"));
        }
        // SAFETY: the header asks for `count` pointers.
        let keys = unsafe { std::slice::from_raw_parts(keys, count) };
        let key = |key: &*const c_char| {
            // SAFETY: the header asks for NUL-terminated strings.
            Key::parse(unsafe { text(*key, "a key is NULL") }?)
        };
        let keys: Vec<Key> = keys.iter().map(key).collect::<Result<_, _>>()?;
        node(handle)?.set_keys(&keys)
    })
}

/// Shows another certificate from now on: the whole text that `peerbase authority sign` prints, for
/// the network, the name and the identity of this node. Peers see it with their next session.
/// `certificate` is copied and must not be NULL. Any thread. Returns 0, PEERBASE_ERR_REFUSED if it
/// is not such a certificate, PEERBASE_ERR_DAMAGED if it is none, PEERBASE_ERR_ARGUMENT also in an
/// open network, PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_set_certificate(
    handle: *mut peerbase_node,
    certificate: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let certificate = unsafe { text(certificate, "certificate is NULL") }?;
        node(handle)?.set_certificate(&Certificate::parse(certificate)?)
    })
}

/// Gives this node another identity, and in a certified network the certificate for it. To the
/// other nodes it leaves, and joins again under its name. Calls of this node that are under way end
/// as PEERBASE_ERR_CANCELLED, and it is not known whether their commands ran. In an open network,
/// other nodes have to accept the new key (`peerbase_node_accept_key`). `identity` is as for
/// `peerbase_config_set_identity` and must not be NULL; `certificate` is NULL in an open network.
/// Both are copied. Any thread. Returns 0, PEERBASE_ERR_KEY, PEERBASE_ERR_REFUSED if the
/// certificate is not that of the network, the name and the identity, PEERBASE_ERR_DAMAGED,
/// PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerbase_node_set_identity(
    handle: *mut peerbase_node,
    identity: *const c_char,
    certificate: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let identity = Identity::parse(unsafe { text(identity, "identity is NULL") }?)?;
        let certificate = match certificate.is_null() {
            true => None,
            // SAFETY: the header asks for NULL or a NUL-terminated string.
            false => Some(Certificate::parse(unsafe { text(certificate, "") }?)?),
        };
        node(handle)?.set_identity(&identity, certificate.as_ref())
    })
}
