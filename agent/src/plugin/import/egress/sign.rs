//! Signatures that the host puts on a request, with keys that the plugin never sees.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use pharos_model::text::hex;
use sha2::Sha256;

use super::policy::EgressPolicy;
use crate::plugin::contract::bindings::notifier::pharos::plugin::egress as wit;
use crate::plugin::import::disclosure::Disclosure;

impl EgressPolicy {
    /// The headers of a signature.
    pub(super) async fn signature(
        &self,
        signing: &wit::Signing,
        request: &wit::Request,
        disclosure: &mut Disclosure,
    ) -> Result<Vec<(String, String)>, wit::EgressError> {
        match signing {
            wit::Signing::HmacSha256((header, secret)) => {
                let digest = hmac(self.secret(secret, disclosure).await?.as_bytes(), &[&request.body]);
                Ok(vec![(header.clone(), hex(&digest))])
            }
            wit::Signing::StandardWebhooks(secrets) => self.standard_webhooks(secrets, request, disclosure).await,
        }
    }

    /// Signs as Standard Webhooks asks for: HMAC-SHA256 over `id.timestamp.body`, in base64. The plugin sets the id as `webhook-id`. Each key
    /// makes a signature, since a receiver may have the key before or after this one.
    async fn standard_webhooks(
        &self,
        secrets: &[String],
        request: &wit::Request,
        disclosure: &mut Disclosure,
    ) -> Result<Vec<(String, String)>, wit::EgressError> {
        let id = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("webhook-id"));
        let Some([wit::Text::Plain(id)]) = id.map(|header| header.value.as_slice()) else {
            return Err(wit::EgressError::Denied("a Standard Webhooks signature needs a plain header `webhook-id`".to_owned()));
        };
        let timestamp = (self.clock.wall_ms() / 1_000).to_string();
        let mut signatures = Vec::new();
        for secret in secrets {
            let key = self.secret(secret, disclosure).await?;
            let key = STANDARD.decode(key.strip_prefix("whsec_").unwrap_or(&key)).map_err(|_| {
                wit::EgressError::Denied(format!("the secret \"{secret}\" is not base64 (`whsec_...`), as Standard Webhooks asks for"))
            })?;
            let digest = hmac(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body]);
            signatures.push(format!("v1,{}", STANDARD.encode(digest)));
        }
        Ok(vec![("webhook-timestamp".to_owned(), timestamp), ("webhook-signature".to_owned(), signatures.join(" "))])
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}
