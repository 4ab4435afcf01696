//! Calls about accounts, tokens, and who one is.

use kenny_proto::AccountName;
use kenny_proto::accounts::{
    Account, AccountChange, AccountList, AccountPassword, Confirmation, Me, NewAccount, NewLogin,
    NewPassword, NewToken, RecoveryCodes, TokenCreated, TokenList, TotpCode, TotpEnrolment,
};
use reqwest::Method;

use super::{ANSWER_TIMEOUT, Client};
use crate::error::CliError;

impl Client {
    /// `POST /login`, which needs no token.
    pub async fn log_in(&self, login: &NewLogin) -> Result<TokenCreated, CliError> {
        let request = self.http.post(self.url(&["api", "v1", "login"])).timeout(ANSWER_TIMEOUT);
        self.read(self.send(request.json(login)).await?).await
    }

    /// `POST /logout`.
    pub async fn log_out(&self) -> Result<(), CliError> {
        self.empty(Method::POST, &["logout"], None::<&()>).await
    }

    /// `GET /me`.
    pub async fn me(&self) -> Result<Me, CliError> {
        self.quick(Method::GET, &["me"], None::<&()>).await
    }

    /// `PUT /me/password`.
    pub async fn set_password(&self, password: &NewPassword) -> Result<(), CliError> {
        self.empty(Method::PUT, &["me", "password"], Some(password)).await
    }

    /// `POST /me/totp`.
    pub async fn begin_totp(&self, own: &Confirmation) -> Result<TotpEnrolment, CliError> {
        self.quick(Method::POST, &["me", "totp"], Some(own)).await
    }

    /// `POST /me/totp/confirm`.
    pub async fn confirm_totp(&self, code: &TotpCode) -> Result<RecoveryCodes, CliError> {
        self.quick(Method::POST, &["me", "totp", "confirm"], Some(code)).await
    }

    /// `POST /me/totp/disable`.
    pub async fn end_totp(&self, own: &Confirmation) -> Result<(), CliError> {
        self.empty(Method::POST, &["me", "totp", "disable"], Some(own)).await
    }

    /// `POST /me/recovery-codes`.
    pub async fn renew_recovery_codes(
        &self,
        own: &Confirmation,
    ) -> Result<RecoveryCodes, CliError> {
        self.quick(Method::POST, &["me", "recovery-codes"], Some(own)).await
    }

    /// `GET /accounts`.
    pub async fn accounts(&self) -> Result<AccountList, CliError> {
        self.quick(Method::GET, &["accounts"], None::<&()>).await
    }

    /// `POST /accounts`.
    pub async fn create_account(&self, new: &NewAccount) -> Result<AccountPassword, CliError> {
        self.quick(Method::POST, &["accounts"], Some(new)).await
    }

    /// `PATCH /accounts/{name}`.
    pub async fn change_account(
        &self,
        name: &AccountName,
        change: &AccountChange,
    ) -> Result<Account, CliError> {
        self.quick(Method::PATCH, &["accounts", name.as_str()], Some(change)).await
    }

    /// `POST /accounts/{name}/reset`.
    pub async fn reset_account(&self, name: &AccountName) -> Result<AccountPassword, CliError> {
        self.quick(Method::POST, &["accounts", name.as_str(), "reset"], None::<&()>).await
    }

    /// `DELETE /accounts/{name}`.
    pub async fn remove_account(&self, name: &AccountName) -> Result<(), CliError> {
        self.delete(&["accounts", name.as_str()]).await
    }

    /// `GET /tokens`.
    pub async fn tokens(&self, account: Option<&AccountName>) -> Result<TokenList, CliError> {
        let mut request = self.request(Method::GET, &["tokens"])?.timeout(ANSWER_TIMEOUT);
        if let Some(account) = account {
            request = request.query(&[("account", account.as_str())]);
        }
        self.read(self.send(request).await?).await
    }

    /// `POST /tokens`.
    pub async fn create_token(&self, token: &NewToken) -> Result<TokenCreated, CliError> {
        self.quick(Method::POST, &["tokens"], Some(token)).await
    }

    /// `DELETE /tokens/{id}`.
    pub async fn revoke_token(&self, id: i64) -> Result<(), CliError> {
        self.delete(&["tokens", &id.to_string()]).await
    }
}
