//! Requests that prove nothing, as fast as they are answered.

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The API, with a wrong token.
    WrongToken,
    /// The API, with a wrong password: of an account that is there, and of others.
    Login,
    /// OAuth, for a registration as a program: anybody may.
    OAuthRegister,
    /// OAuth, for tokens by codes that nobody was given.
    OAuthToken,
    /// The page of an invitation that nobody was sent.
    Invitation,
}

impl Request {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::WrongToken, Self::Login, Self::OAuthRegister, Self::OAuthToken, Self::Invitation];

    /// For the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongToken => "wrong token",
            Self::Login => "wrong password",
            Self::OAuthRegister => "OAuth registration",
            Self::OAuthToken => "OAuth token",
            Self::Invitation => "invitation",
        }
    }

    /// The request of this number, after which the connection is to be closed.
    pub fn bytes(self, number: u64) -> String {
        match self {
            Self::WrongToken => get("/api/v1/agents", "authorization: Bearer kenny_op_wrong\r\n"),
            Self::Login => {
                let account = if number.is_multiple_of(2) {
                    "owner".to_owned()
                } else {
                    format!("account-{}", number % 1000)
                };
                let body =
                    format!(r#"{{"account":"{account}","password":"wrong-{number}-and-long"}}"#);
                post("/api/v1/login", "application/json", &body)
            }
            Self::OAuthRegister => {
                let body = format!(
                    r#"{{"client_name":"program {number}","redirect_uris":["http://127.0.0.1/callback"]}}"#
                );
                post("/oauth/register", "application/json", &body)
            }
            Self::OAuthToken => {
                let body = format!(
                    "grant_type=authorization_code&code=wrong-{number}&client_id=wrong&code_verifier=wrong\
                     &redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback"
                );
                post("/oauth/token", "application/x-www-form-urlencoded", &body)
            }
            // Of a code's shape, so that the server has to look.
            Self::Invitation => get(&format!("/invite/{number:028}"), ""),
        }
    }
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}connection: close\r\n\r\n")
}

fn post(path: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}
