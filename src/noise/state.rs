//! The cipher and the hashes of a handshake (sections 5.1 and 5.2).
//!
//! A key is replaced in place, so that the new one overwrites the old one.

use super::Invalid;
use crate::hkdf::hkdf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes by which a sealed text is longer than the plain one.
pub(super) const TAG: usize = 16;

/// A key, once there is one, and the number of texts that it sealed or opened.
#[derive(Default)]
pub(super) struct CipherState {
    key: Zeroizing<Option<[u8; 32]>>,
    nonce: u64,
}

impl CipherState {
    /// Replaces the key, and counts from zero again.
    pub(super) fn set_key(&mut self, key: &[u8; 32]) {
        self.key.get_or_insert([0; 32]).copy_from_slice(key);
        self.nonce = 0;
    }

    /// Appends `plain` to `out`: sealed together with `associated` if there is a key, else as it
    /// is.
    pub(super) fn encrypt(
        &mut self,
        associated: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        let start = out.len();
        // The plaintext stays in no buffer that `out` outgrew.
        out.reserve(plain.len() + TAG);
        out.extend_from_slice(plain);
        if let Some((cipher, nonce)) = self.next()? {
            let text = (&mut out[start..]).into();
            let sealed = cipher.encrypt_inout_detached((&nonce).into(), associated, text);
            out.extend_from_slice(&sealed.map_err(|_| Invalid)?);
        }
        Ok(())
    }

    /// Appends to `out` what [`CipherState::encrypt`] made `sealed` of. After an error the end of
    /// `out` means nothing.
    pub(super) fn decrypt(
        &mut self,
        associated: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        let Some((cipher, nonce)) = self.next()? else {
            out.extend_from_slice(sealed);
            return Ok(());
        };
        let (text, tag) = sealed.split_last_chunk::<TAG>().ok_or(Invalid)?;
        let start = out.len();
        out.extend_from_slice(text);
        let text = (&mut out[start..]).into();
        let opened = cipher.decrypt_inout_detached((&nonce).into(), associated, text, tag.into());
        opened.map_err(|_| Invalid)
    }

    /// The cipher, if there is one, and the nonce of the next text. The last number is never used
    /// (section 5.1).
    fn next(&mut self) -> Result<Option<(ChaCha20Poly1305, [u8; 12])>, Invalid> {
        let Some(key) = &*self.key else {
            return Ok(None);
        };
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonce.to_le_bytes());
        self.nonce = self.nonce.checked_add(1).ok_or(Invalid)?;
        Ok(Some((ChaCha20Poly1305::new(key.into()), nonce)))
    }
}

/// The chain key, into which every secret is mixed, and the hash of all that was said, which
/// everything is sealed with.
pub(super) struct SymmetricState {
    cipher: CipherState,
    chain: Zeroizing<[u8; 32]>,
    hash: [u8; 32],
}

impl SymmetricState {
    /// The state in which a handshake of the protocol of this name starts.
    pub(super) fn new(name: &str) -> SymmetricState {
        let mut hash = [0; 32];
        match hash.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(name.as_bytes()),
            None => hash = Sha256::digest(name).into(),
        }
        SymmetricState {
            cipher: CipherState::default(),
            chain: Zeroizing::new(hash),
            hash,
        }
    }

    /// Mixes a secret, or what only one handshake has, into the chain key.
    pub(super) fn mix_key(&mut self, secret: &[u8]) {
        let keys = self.derive(secret);
        let [chain, key] = &*keys;
        self.chain.copy_from_slice(chain);
        self.cipher.set_key(key);
    }

    /// Adds what was said to the hash.
    pub(super) fn mix_hash(&mut self, said: &[u8]) {
        let hash = Sha256::new().chain_update(self.hash).chain_update(said);
        self.hash = hash.finalize().into();
    }

    /// Mixes a pre-shared key into the chain key, and what shows that it was the right one into the
    /// hash.
    pub(super) fn mix_key_and_hash(&mut self, psk: &[u8; 32]) {
        let keys = self.derive(psk);
        let [chain, hash, key] = &*keys;
        self.chain.copy_from_slice(chain);
        self.mix_hash(hash);
        self.cipher.set_key(key);
    }

    /// Appends `plain` to `out`, sealed if there is a key.
    pub(super) fn encrypt_and_hash(
        &mut self,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        let start = out.len();
        self.cipher.encrypt(&self.hash, plain, out)?;
        self.mix_hash(&out[start..]);
        Ok(())
    }

    /// Appends to `out` what the other side gave to [`SymmetricState::encrypt_and_hash`]. After an
    /// error the end of `out` means nothing.
    pub(super) fn decrypt_and_hash(
        &mut self,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        self.cipher.decrypt(&self.hash, sealed, out)?;
        self.mix_hash(sealed);
        Ok(())
    }

    /// Bytes by which a text is longer once it is sealed: none while there is no key.
    pub(super) fn overhead(&self) -> usize {
        if self.cipher.key.is_some() { TAG } else { 0 }
    }

    /// The keys in which the handshake ends: of what the initiator sends, and of what the responder
    /// sends.
    pub(super) fn split(&self) -> Zeroizing<[[u8; 32]; 2]> {
        self.derive(&[])
    }

    /// The hash of all that was said. It is no secret.
    #[cfg(test)]
    pub(super) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The function `HKDF` of section 4.3, which is that of RFC 5869 without an info.
    fn derive<const N: usize>(&self, secret: &[u8]) -> Zeroizing<[[u8; 32]; N]> {
        let mut keys = Zeroizing::new([[0; 32]; N]);
        hkdf(&*self.chain, secret, &[], keys.as_flattened_mut());
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_seals_nothing() {
        let mut cipher = CipherState::default();
        cipher.set_key(&[1; 32]);
        cipher.nonce = u64::MAX - 1;
        assert_eq!(cipher.encrypt(&[], b"last", &mut Vec::new()), Ok(()));
        assert_eq!(cipher.encrypt(&[], b"more", &mut Vec::new()), Err(Invalid));
        assert_eq!(cipher.decrypt(&[], &[0; 20], &mut Vec::new()), Err(Invalid));
    }
}
