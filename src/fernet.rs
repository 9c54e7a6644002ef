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

use crate::entropy::Entropy;
use crate::error::Error;
use crate::limits::KEYS_MAX;
use aes::Aes128;
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, consts::U16};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// Characters of a key as text, padding included.
pub const KEY_TEXT_LEN: usize = 44;

const VERSION: u8 = 0x80;
const BLOCK: usize = 16;
const HEADER: usize = 1 + 8 + 16;
const TAG: usize = 32;
/// How far in the future a token may be dated; the specification's own bound.
const MAX_SKEW: u64 = 60;
/// Bytes that are encrypted, authenticated and encoded in one go. They stay in the nearest cache,
/// and are a multiple of the cipher's 16 bytes and of base64's 3.
const CHUNK: usize = 48 * 48;
/// Bytes that are encrypted before other work is done in between: few enough for a processor to
/// overlap the two.
const STEP: usize = 64;

/// A Fernet key: 16 bytes to sign with, and 16 to encrypt with. It is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A new key.
    pub fn generate(entropy: &mut impl Entropy) -> Key {
        Key(entropy.array())
    }

    /// The key of these bytes, of which the first half signs.
    pub fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// Reads the canonical text form: 44 characters of padded base64url.
    pub fn parse(text: &str) -> Result<Key, Error> {
        if text.len() != KEY_TEXT_LEN {
            return Err(Error::Key("must be 44 characters"));
        }
        let mut bytes = Zeroizing::new([0u8; 33]);
        match URL_SAFE.decode_slice(text, bytes.as_mut_slice()) {
            Ok(32) => {
                let mut key = Key([0; 32]);
                key.0.copy_from_slice(&bytes[..32]);
                Ok(key)
            }
            _ => Err(Error::Key(
                "must be base64url of 32 bytes, padded with one =",
            )),
        }
    }

    /// The text form, which is the secret itself: write it to key files, and never to logs.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE.encode(self.0))
    }

    /// The bytes, from which further keys are derived.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

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
        let (signing, encryption) = key.0.split_at(16);
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
        self.seal_along::<CHUNK>(plain, unix, iv, out, || {});
    }

    /// As [`Sealer::seal`], and also adds `data` to a digest. The cipher waits for its own last
    /// block most of the time, and so does the digest, so that both together take hardly longer
    /// than one.
    pub(crate) fn seal_hashing(
        &self,
        plain: &[u8],
        unix: u64,
        iv: &[u8; 16],
        out: &mut Vec<u8>,
        (data, hash): (&[u8], &mut Sha256),
    ) {
        let mut rest = data;
        self.seal_along::<STEP>(plain, unix, iv, out, || {
            let (now, later) = rest.split_at(rest.len().min(STEP));
            hash.update(now);
            rest = later;
        });
        hash.update(rest);
    }

    #[inline(always)]
    fn seal_along<const STEP: usize>(
        &self,
        plain: &[u8],
        unix: u64,
        iv: &[u8; 16],
        out: &mut Vec<u8>,
        mut along: impl FnMut(),
    ) {
        let mut at = out.len();
        out.resize(at + token_len(plain.len()), 0);

        let mut buf = [0u8; HEADER + CHUNK + TAG];
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
            for step in buf[held..end].chunks_mut(STEP) {
                encrypt(&mut cbc, step);
                along();
            }
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

/// The index of the key of a [`Keyring`] that opened a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIndex(usize);

/// One to four keys: the ring opens with any of them, and seals with the first. A key is rotated in
/// three steps, each done on every node before the next: add the new key last, put it first, and
/// remove the old key.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<Key>,
    sealers: Vec<Sealer>,
}

impl Keyring {
    /// A ring of `keys`, of which the first seals.
    pub fn new(keys: Vec<Key>) -> Result<Keyring, Error> {
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(Error::Key("a keyring holds one to four keys"));
        }
        let sealers = keys.iter().map(Sealer::new).collect();
        Ok(Keyring { keys, sealers })
    }

    /// The key that seals.
    pub fn first(&self) -> KeyIndex {
        KeyIndex(0)
    }

    /// A key ready for use.
    pub fn sealer(&self, index: KeyIndex) -> &Sealer {
        &self.sealers[index.0]
    }

    /// Every key; further keys are derived from them.
    pub(crate) fn all(&self) -> &[Key] {
        &self.keys
    }

    /// One key; further keys are derived from it.
    pub(crate) fn key(&self, index: KeyIndex) -> &Key {
        &self.keys[index.0]
    }

    /// Opens `token` with the key that fits.
    pub fn open<'b>(
        &self,
        token: &[u8],
        buf: &'b mut Vec<u8>,
    ) -> Result<(&'b [u8], KeyIndex), Invalid> {
        open_with(&self.sealers, token, buf, None).map(|(plain, i)| (plain, KeyIndex(i)))
    }
}

impl From<Key> for Keyring {
    fn from(key: Key) -> Keyring {
        Keyring {
            sealers: vec![Sealer::new(&key)],
            keys: vec![key],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(fill: u8) -> Key {
        Key::from_bytes([fill; 32])
    }

    fn seal(key: &Key, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Sealer::new(key).seal(plain, 1_000, &[7; 16], &mut out);
        out
    }

    fn open(key: &Key, token: &[u8]) -> Result<Vec<u8>, Invalid> {
        Sealer::new(key)
            .open(token, &mut Vec::new())
            .map(<[u8]>::to_vec)
    }

    // The three vectors of https://github.com/fernet/spec: generate.json, verify.json,
    // invalid.json.
    const SECRET: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
    const NOW: u64 = 499_162_800; // 1985-10-26T01:20:00-07:00

    #[test]
    fn spec_generate() {
        let mut iv = [0; 16];
        iv.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
        let mut out = Vec::new();
        Sealer::new(&Key::parse(SECRET).unwrap()).seal(b"hello", NOW, &iv, &mut out);
        assert_eq!(out, TOKEN.as_bytes());
    }

    #[test]
    fn spec_verify() {
        let sealer = Sealer::new(&Key::parse(SECRET).unwrap());
        let mut buf = Vec::new();
        assert_eq!(
            sealer.open_fresh(TOKEN.as_bytes(), &mut buf, NOW + 1, Duration::from_secs(60)),
            Ok(&b"hello"[..])
        );
        assert_eq!(sealer.open(TOKEN.as_bytes(), &mut buf), Ok(&b"hello"[..]));
    }

    #[test]
    fn spec_invalid() {
        let sealer = Sealer::new(&Key::parse(SECRET).unwrap());
        for (what, token) in [
            (
                "incorrect mac",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
            ),
            (
                "too short",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
            ),
            (
                "invalid base64",
                "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            ),
            (
                "payload size not multiple of block size",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
            ),
            (
                "payload padding error",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
            ),
            (
                "far-future TS (unacceptable clock skew)",
                "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
            ),
            (
                "expired TTL",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            ),
            (
                "incorrect IV (causes padding error)",
                "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
            ),
        ] {
            // Each token is checked at the time that its vector names.
            let now = if what == "expired TTL" {
                NOW + 91
            } else {
                NOW + 1
            };
            let mut buf = Vec::new();
            let answer =
                sealer.open_fresh(token.as_bytes(), &mut buf, now, Duration::from_secs(60));
            assert_eq!(answer, Err(Invalid), "{what}");
        }
    }

    #[test]
    fn every_size_round_trips_and_has_the_length_foretold() {
        let plain: Vec<u8> = (0..CHUNK * 2 + 70).map(|i| i as u8).collect();
        for n in
            (0..200)
                .chain(CHUNK - 20..CHUNK + 70)
                .chain([CHUNK * 2 - 1, CHUNK * 2, plain.len()])
        {
            let token = seal(&key(1), &plain[..n]);
            assert_eq!(token.len(), token_len(n));
            assert_eq!(open(&key(1), &token).unwrap(), &plain[..n], "{n}");
        }
    }

    #[test]
    fn sealing_appends_and_keeps_what_was_there() {
        let mut out = b"n|msg|".to_vec();
        Sealer::new(&key(1)).seal(b"x", 1, &[0; 16], &mut out);
        assert!(out.starts_with(b"n|msg|gAAAA"));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let token = seal(&key(1), b"a token of two blocks, more or less");
        for i in 0..token.len() {
            assert_eq!(open(&key(1), &token[..i]), Err(Invalid));
            for bit in 0..8 {
                let mut bad = token.clone();
                bad[i] ^= 1 << bit;
                assert_eq!(open(&key(1), &bad), Err(Invalid), "byte {i} bit {bit}");
            }
        }
    }

    #[test]
    fn another_key_version_or_padding_is_refused_alike() {
        assert_eq!(open(&key(2), &seal(&key(1), b"x")), Err(Invalid));
        // A right MAC over a wrong version, and over wrong padding, as a key holder could forge it.
        let forge = |version: u8, block: [u8; 16]| {
            let k = Sealer::new(&key(1));
            let mut raw = vec![version];
            raw.extend_from_slice(&[0; 24]);
            let mut blocks = [block];
            encrypt(
                &mut cbc::Encryptor::inner_iv_init(&k.cipher, &Array::from([0; 16])),
                &mut blocks[0],
            );
            raw.extend_from_slice(&blocks[0]);
            let mut mac = k.mac.clone();
            mac.update(&raw);
            raw.extend_from_slice(&mac.finalize().into_bytes());
            URL_SAFE.encode(raw).into_bytes()
        };
        assert_eq!(open(&key(1), &forge(0x80, [16; 16])), Ok(vec![]));
        for (version, block) in [
            (0x81, [16; 16]),
            (0x80, [0; 16]),
            (0x80, [17; 16]),
            (0x80, [255; 16]),
            (0x80, {
                let mut b = [16; 16];
                b[3] = 1;
                b
            }),
        ] {
            assert_eq!(open(&key(1), &forge(version, block)), Err(Invalid));
        }
    }

    #[test]
    fn only_the_canonical_encoding_is_accepted() {
        let token = seal(&key(1), b"twelve bytes"); // ends in "==": four stray bits
        assert!(token.ends_with(b"=="));
        let mut stray = token.clone();
        let at = token.len() - 3;
        stray[at] = token[at] + 1;
        assert_eq!(open(&key(1), &stray), Err(Invalid), "stray bits");
        assert_eq!(
            open(&key(1), &token[..token.len() - 1]),
            Err(Invalid),
            "missing padding"
        );
        assert_eq!(
            open(&key(1), &[&token[..], b"="].concat()),
            Err(Invalid),
            "extra padding"
        );
        let standard = token
            .iter()
            .map(|b| match b {
                b'-' => b'+',
                b'_' => b'/',
                b => *b,
            })
            .collect::<Vec<_>>();
        if standard != token {
            assert_eq!(open(&key(1), &standard), Err(Invalid), "the other alphabet");
        }
    }

    #[test]
    fn a_ring_opens_with_any_key_and_seals_with_the_first() {
        let ring = Keyring::new(vec![key(1), key(2)]).unwrap();
        let (_, which) = ring
            .open(&seal(&key(2), b"old"), &mut Vec::new())
            .map(|(p, i)| (p.to_vec(), i))
            .unwrap();
        assert_eq!(which, KeyIndex(1));
        assert!(
            ring.open(&seal(&key(3), b"rotated out"), &mut Vec::new())
                .is_err()
        );
        assert!(Keyring::new(vec![]).is_err() && Keyring::new(vec![key(1); 5]).is_err());
    }

    #[test]
    fn a_key_has_one_text_form_and_never_shows_in_debug() {
        let text = key(9).to_text();
        assert_eq!(Key::parse(&text).unwrap(), key(9));
        for bad in [
            &text[..43],
            &format!("{}=", &*text),
            &text.replace('=', "A"),
            &text.replace("CQk=", "CQl="),
        ] {
            assert!(matches!(Key::parse(bad), Err(Error::Key(_))), "{bad}");
        }
        assert_eq!(format!("{:?}", key(9)), "Key(..)");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_open(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(open(&key(1), &bytes), Err(Invalid));
        }
    }
}
