//! The names of keys and headers whose values are secrets, and how they are compared.

use hashbrown::HashSet;

use super::scan;

/// Keys of parameters whose values are hidden. deploy/ANALYSTS.md has the same list.
///
/// A key is listed if its value alone grants access, and if it seldom means anything else. So `code` is listed, which
/// completes a login and authorises calls of Azure functions; `state`, `nonce` and `ticket` are not.
pub const KEYS: &[&str] = &[
    // signatures and credentials of signed URLs
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "X-Goog-Signature",
    "X-Goog-Credential",
    "X-Goog-Security-Token",
    "GoogleAccessId",
    "X-Oss-Signature",
    "X-Oss-Credential",
    "X-Oss-Security-Token",
    "OSSAccessKeyId",
    "Q-Signature",
    "Signature",
    "Sig",
    "HMAC",
    "hdnts",
    "hdnea",
    // logins by OAuth, OpenID Connect and SAML
    "code",
    "code_verifier",
    "device_code",
    "assertion",
    "client_assertion",
    "client_secret",
    "id_token_hint",
    "oauth_signature",
    "oauth_token_secret",
    "oauth_verifier",
    "SAMLart",
    "SAMLResponse",
    // tokens
    "token",
    "access_token",
    "api_token",
    "auth_token",
    "bearer_token",
    "csrf_token",
    "deploy_token",
    "feed_token",
    "id_token",
    "invitation_token",
    "job_token",
    "login_token",
    "oauth_token",
    "private_token",
    "refresh_token",
    "reset_password_token",
    "reset_token",
    "security_token",
    "session_token",
    "user_token",
    "xsrf_token",
    "authenticity_token",
    "csrf",
    "csrfmiddlewaretoken",
    "xsrf",
    "RequestVerificationToken",
    "bearer",
    "jwt",
    "wstoken",
    // passwords
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pass",
    "pwd",
    "pw",
    "pin",
    "otp",
    "totp",
    "current_password",
    "new_password",
    "old_password",
    "confirm_password",
    "password_confirmation",
    "login_password",
    "user_password",
    "j_password",
    // keys
    "key",
    "access_key",
    "account_key",
    "api_key",
    "app_key",
    "auth_key",
    "encryption_key",
    "license_key",
    "master_key",
    "private_key",
    "secret_key",
    "session_key",
    "signing_key",
    "subscription_key",
    "Ocp-Apim-Subscription-Key",
    // secrets
    "secret",
    "api_secret",
    "app_secret",
    "consumer_secret",
    "shared_secret",
    "auth",
    "authorization",
    "credential",
    "credentials",
    // sessions
    "session",
    "session_id",
    "sessid",
    "sid",
    "jsessionid",
    "phpsessid",
    "ASP.NET_SessionId",
    "cftoken",
];

/// Headers whose values are hidden as a whole. deploy/ANALYSTS.md has the same list.
pub const HEADERS: &[&str] = &[
    "Authorization",
    "Proxy-Authorization",
    "Authentication-Info",
    "Proxy-Authentication-Info",
    "Cookie",
    "Cookie2",
    "Set-Cookie",
    "Set-Cookie2",
    "DPoP",
    "X-Auth",
    "X-Auth-Key",
    "X-Amzn-OIDC-Data",
    "X-Forwarded-Client-Cert",
    "X-Functions-Key",
    "X-MS-Client-Principal",
    "X-Registry-Auth",
    "X-Session",
    "X-Session-Id",
    "Session-Id",
    "Ocp-Apim-Subscription-Key",
    "X-Parse-REST-API-Key",
    "DD-Application-Key",
];

/// Endings of header names whose values are hidden as a whole: for the headers of vendors.
pub const HEADER_ENDS: &[&str] =
    &["token", "secret", "password", "api-key", "apikey", "authorization", "jwt", "jwt-assertion"];

/// Keys of parameters, by hash.
///
/// A key is compared without regard to case, `-`, `_` and spaces: `apiKey` is `api_key`. Of a key with brackets or
/// dots, `user[password]`, each part is compared, and the whole. If another key has the hash of a listed one, a value
/// too many is hidden; only whoever sends the request can cause that.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(HashSet<u64, foldhash::fast::RandomState>);

impl Keys {
    pub(super) fn add(&mut self, key: &[u8]) {
        let mut whole = Hash::EMPTY;
        key.iter().for_each(|byte| whole.push(*byte));
        if whole != Hash::EMPTY {
            self.0.insert(whole.0);
        }
    }

    /// Whether the value of `key`, as written in a URL, is a secret.
    pub(super) fn lists(&self, key: &[u8]) -> bool {
        let (mut whole, mut part) = (Hash::EMPTY, Hash::EMPTY);
        for byte in scan::undone(key) {
            if matches!(byte, b'[' | b']' | b'.') && part != Hash::EMPTY {
                if self.0.contains(&part.0) {
                    return true;
                }
                part = Hash::EMPTY;
            }
            whole.push(byte);
            part.push(byte);
        }
        self.0.contains(&whole.0) || (part != whole && self.0.contains(&part.0))
    }
}

/// An FNV-1a hash under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hash(u64);

impl Hash {
    const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    const fn push(&mut self, byte: u8) {
        if !matches!(byte, b'-' | b'_' | b' ' | b'+' | b'[' | b']' | b'.') {
            self.0 = (self.0 ^ byte.to_ascii_lowercase() as u64).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
