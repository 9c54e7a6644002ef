//! Fernet tokens: <https://github.com/fernet/spec/blob/master/Spec.md>.
//!
//! ```text
//! token   = base64url( version | timestamp | IV | ciphertext | HMAC ), padded
//! version = 0x80          timestamp = u64, seconds, big-endian         IV = 16 bytes
//! ciphertext = AES-128-CBC with PKCS#7        HMAC = HMAC-SHA256 over all before it
//! ```
//!
//! The primitives are RustCrypto's; this file composes them. The schedules of a key are computed
//! once, when its [`Sealer`] is made. Both directions work in buffers of the caller. Every failure
//! to open a token gives the same error.
//!
//! `key` is one key as bytes and as text, `keyring` several keys while one is rotated.

mod key;
mod keyring;
#[cfg(test)]
mod tests;

pub use key::{KEY_TEXT_LEN, Key};
pub use keyring::{KeyIndex, Keyring};

use aes::Aes128;
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, consts::U16};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroize;

const VERSION: u8 = 0x80;
const BLOCK: usize = 16;
const HEADER: usize = 1 + 8 + 16;
const TAG: usize = 32;
/// How far in the future a token may be dated; the specification's own bound.
const MAX_SKEW: u64 = 60;
/// Bytes that are encrypted, authenticated and encoded in one go. They stay in the nearest cache,
/// and are a multiple of the cipher's 16 bytes and of base64's 3.
const CHUNK: usize = 48 * 48;
/// Plaintexts of fewer bytes are sealed in a buffer of this length, so that the record of a short
/// call does not pay for clearing a whole chunk. A multiple of the cipher's 16 bytes.
const SHORT: usize = 1_024;

/// The error of a token that does not open. It has no reason on purpose: a reason is an oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid token")
    }
}

impl std::error::Error for Invalid {}

/// The length in bytes of the token of `plain` bytes.
pub const fn token_len(plain: usize) -> usize {
    (HEADER + (plain / BLOCK + 1) * BLOCK + TAG).div_ceil(3) * 4
}

/// One key, ready for use: the AES schedules and the first blocks of HMAC are computed.
#[derive(Clone)]
pub struct Sealer {
    cipher: Aes128,
    mac: Hmac<Sha256>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// Computes the schedules of `key`.
    pub fn new(key: &Key) -> Sealer {
        let (signing, encryption) = key.as_bytes().split_at(16);
        let mut block = [0u8; 64];
        block[..16].copy_from_slice(signing);
        let mut cipher_key = [0u8; 16];
        cipher_key.copy_from_slice(encryption);
        let sealer = Sealer {
            cipher: Aes128::new(&cipher_key.into()),
            // HMAC pads a short key with zeros to one block, so the padded key is the same key.
            mac: <Hmac<Sha256> as KeyInit>::new(&block.into()),
        };
        block.zeroize();
        cipher_key.zeroize();
        sealer
    }

    /// Appends the token of `plain` to `out`.
    ///
    /// `unix` is the time that the token carries, in seconds. `iv` must be unpredictable and never
    /// used before.
    pub fn seal(&self, plain: &[u8], unix: u64, iv: &[u8; 16], out: &mut Vec<u8>) {
        if plain.len() < SHORT {
            let buf = &mut [0; HEADER + SHORT + TAG];
            self.seal_in(buf, plain, unix, iv, out);
        } else {
            let buf = &mut [0; HEADER + CHUNK + TAG];
            self.seal_in(buf, plain, unix, iv, out);
        }
    }

    /// Seals in `buf`, which has room for the header, the tag, and a chunk between them or all of a
    /// padded plaintext that is shorter.
    fn seal_in(&self, buf: &mut [u8], plain: &[u8], unix: u64, iv: &[u8; 16], out: &mut Vec<u8>) {
        let mut at = out.len();
        out.resize(at + token_len(plain.len()), 0);

        buf[0] = VERSION;
        buf[1..9].copy_from_slice(&unix.to_be_bytes());
        buf[9..HEADER].copy_from_slice(iv);
        let mut mac = self.mac.clone();
        mac.update(&buf[..HEADER]);
        let mut cbc = cbc::Encryptor::inner_iv_init(&self.cipher, &Array::from(*iv));

        // Whole base64 groups are written as they come; up to two bytes wait for the next round.
        let mut held = HEADER;
        let (chunks, last) = plain.as_chunks::<CHUNK>();
        for chunk in chunks {
            let end = held + CHUNK;
            buf[held..end].copy_from_slice(chunk);
            encrypt(&mut cbc, &mut buf[held..end]);
            mac.update(&buf[held..end]);
            let whole = end - end % 3;
            at += encode(&buf[..whole], &mut out[at..]);
            buf.copy_within(whole..end, 0);
            held = end - whole;
        }
        // PKCS#7: there is always at least one byte of padding, and each byte is their number.
        let padded = (last.len() / BLOCK + 1) * BLOCK;
        let end = held + padded;
        buf[held..held + last.len()].copy_from_slice(last);
        buf[held + last.len()..end].fill((padded - last.len()) as u8);
        encrypt(&mut cbc, &mut buf[held..end]);
        mac.update(&buf[held..end]);
        buf[end..end + TAG].copy_from_slice(&mac.finalize().into_bytes());
        encode(&buf[..end + TAG], &mut out[at..]);
    }

    /// Opens `token`, whatever its time. The plaintext is a part of `buf`, which grows if it must
    /// and never shrinks.
    pub fn open<'b>(&self, token: &[u8], buf: &'b mut Vec<u8>) -> Result<&'b [u8], Invalid> {
        open_with(std::slice::from_ref(self), token, buf, None).map(|(plain, _)| plain)
    }

    /// Opens `token` if it is at most `ttl` old at `now` (Unix seconds) and not dated more than a
    /// minute ahead.
    pub fn open_fresh<'b>(
        &self,
        token: &[u8],
        buf: &'b mut Vec<u8>,
        now: u64,
        ttl: Duration,
    ) -> Result<&'b [u8], Invalid> {
        open_with(std::slice::from_ref(self), token, buf, Some((now, ttl))).map(|(plain, _)| plain)
    }
}

fn encrypt(cbc: &mut cbc::Encryptor<&Aes128>, bytes: &mut [u8]) {
    let (blocks, _) = Array::<u8, U16>::slice_as_chunks_mut(bytes);
    cbc.encrypt_blocks(blocks);
}

fn encode(bytes: &[u8], out: &mut [u8]) -> usize {
    // The caller sized `out` with token_len. If token_len were wrong, the tests over every length
    // would fail.
    URL_SAFE.encode_slice(bytes, out).unwrap_or(0)
}

fn open_with<'b>(
    keys: &[Sealer],
    token: &[u8],
    buf: &'b mut Vec<u8>,
    fresh: Option<(u64, Duration)>,
) -> Result<(&'b [u8], usize), Invalid> {
    let room = token.len() / 4 * 3;
    if room < HEADER + BLOCK + TAG {
        return Err(Invalid);
    }
    if buf.len() < room {
        buf.resize(room, 0);
    }
    let n = URL_SAFE
        .decode_slice(token, &mut buf[..room])
        .map_err(|_| Invalid)?;
    if n < HEADER + BLOCK + TAG || !(n - HEADER - TAG).is_multiple_of(BLOCK) || buf[0] != VERSION {
        return Err(Invalid);
    }
    let (signed, tag) = buf[..n].split_at_mut(n - TAG);
    // Authenticate first: nothing about the padding may show before the MAC is right.
    let index = keys
        .iter()
        .position(|key| {
            let mut mac = key.mac.clone();
            mac.update(signed);
            mac.verify_slice(tag).is_ok()
        })
        .ok_or(Invalid)?;
    let mut time = [0; 8];
    time.copy_from_slice(&signed[1..9]);
    let time = u64::from_be_bytes(time);
    if let Some((now, ttl)) = fresh
        && (time.saturating_add(ttl.as_secs()) < now || time > now.saturating_add(MAX_SKEW))
    {
        return Err(Invalid);
    }
    let mut iv = [0; 16];
    iv.copy_from_slice(&signed[9..HEADER]);
    let ciphertext = &mut signed[HEADER..];
    let (blocks, _) = Array::<u8, U16>::slice_as_chunks_mut(ciphertext);
    cbc::Decryptor::inner_iv_init(&keys[index].cipher, &Array::from(iv)).decrypt_blocks(blocks);
    // Only a holder of the key gets this far, so the padding tells an attacker nothing.
    let pad = ciphertext[ciphertext.len() - 1];
    let plain_len = ciphertext.len() - usize::from(pad).min(ciphertext.len());
    if pad == 0 || usize::from(pad) > BLOCK || ciphertext[plain_len..].iter().any(|&b| b != pad) {
        return Err(Invalid);
    }
    Ok((&buf[HEADER..HEADER + plain_len], index))
}
