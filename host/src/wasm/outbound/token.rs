//! Bearer tokens for durable HTTP calls: where a call's `tokenSource` is looked up.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use crate::{
    durable::{Failure, TokenSource},
    wasm::AppSettings,
};

/// A token, or why there is none (text for the developer; it must not hold a secret).
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

/// Gives the bearer tokens of one kind of token source. It is asked before each request, so that a token that has expired is
/// renewed; whether it keeps one meanwhile is its own matter.
pub trait TokenProvider: Send + Sync + 'static {
    /// A token for a source of this provider's kind.
    fn token<'a>(&'a self, source: &'a TokenSource) -> TokenFuture<'a>;
}

/// The providers that there are, by the kind of their sources. Kinds compare without regard to case.
#[derive(Clone, Default)]
pub struct TokenProviders(BTreeMap<String, (String, Arc<dyn TokenProvider>)>);

impl TokenProviders {
    /// Adds the provider of a kind, in place of one that there was.
    #[must_use]
    pub fn with(mut self, kind: &str, provider: Arc<dyn TokenProvider>) -> Self {
        self.0.insert(kind.to_ascii_lowercase(), (kind.to_owned(), provider));
        self
    }

    /// A token, fresh from its provider.
    pub(super) async fn token(&self, source: &TokenSource) -> Result<String, Failure> {
        let fatal = |text| Failure { non_retriable: true, ..Failure::new("TokenSourceNotConfigured", text) };
        let Some((kind, provider)) = self.0.get(&source.kind.to_ascii_lowercase()) else {
            let known: Vec<&str> = self.0.values().map(|(kind, _)| kind.as_str()).collect();
            return Err(fatal(format!(
                "no token source of the kind '{}' is configured for the resource '{}': this host knows {}; or get the token \
                 in an activity and give it in the Authorization header",
                source.kind,
                source.resource,
                if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            )));
        };
        let token = provider.token(source).await;
        token.map_err(|reason| {
            fatal(format!("the token source '{kind}' has no token for '{}': {reason}", source.resource))
        })
    }
}

/// The kind `AppSetting`: the token is the value of the app setting that the source's resource names.
///
/// Only settings of `Values` in local.settings.json are given out, as to functions: the rest of the host's environment is
/// nobody's token.
pub struct AppSettingTokens {
    settings: AppSettings,
}

impl AppSettingTokens {
    /// The kind of its sources.
    pub const KIND: &'static str = "AppSetting";

    /// Tokens from these settings.
    pub fn new(settings: AppSettings) -> Self {
        Self { settings }
    }
}

impl TokenProvider for AppSettingTokens {
    fn token<'a>(&'a self, source: &'a TokenSource) -> TokenFuture<'a> {
        let settings = self.settings.get();
        let found = settings.iter().find(|(name, _)| name.eq_ignore_ascii_case(&source.resource));
        let token = match found.map(|(_, value)| value.trim()) {
            Some(token) if !token.is_empty() => Ok(token.to_owned()),
            Some(_) => Err("the app setting is empty".to_owned()),
            None => Err("there is no such app setting; add it to Values of local.settings.json".to_owned()),
        };
        Box::pin(std::future::ready(token))
    }
}
