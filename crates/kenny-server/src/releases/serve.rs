//! Serving artifacts: `GET` and `HEAD` with ranges and conditions, out of shared mappings without a copy.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream;
use jiff::Timestamp;
use kenny_proto::api::Problem;

use crate::limits::Slot;

use super::ReleaseFiles;
use super::links::{Link, LinkError, PREFIX, Signer};
use super::range::{self, Asked};
use super::uplink::Uplink;

/// The route of the artifacts. It needs no token: the link itself is the permission.
pub fn router<S>(files: ReleaseFiles, signer: Signer, uplink: Uplink) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Router::new()
        .route(
            &format!("{PREFIX}/{{expires_unix}}/{{signature}}/{{sha256}}/{{file_name}}"),
            get(artifact),
        )
        .with_state(Serving { files, signer, uplink })
}

#[derive(Clone)]
struct Serving {
    files: ReleaseFiles,
    signer: Signer,
    uplink: Uplink,
}

async fn artifact(
    State(serving): State<Serving>,
    link: Result<Path<Link>, PathRejection>,
    slot: Option<Extension<Arc<Slot>>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Ok(Path(link)) = link else { return refused(LinkError::Forged) };
    let now = Timestamp::now();
    if let Err(error) = serving.signer.check(&link, now) {
        return refused(error);
    }
    // Whoever has a link was given it: a download may take as long as the line is slow.
    if let Some(Extension(slot)) = slot {
        slot.prove();
    }
    match serving.files.artifact(link.sha256).await {
        Ok(Some(bytes)) => answer(&serving, &bytes, &link, &method, &headers, now),
        Ok(None) => {
            tracing::warn!(artifact.sha256 = %link.sha256, "a valid link names an artifact that is not in the data directory");
            refused(LinkError::Forged)
        }
        Err(error) => {
            tracing::error!(artifact.sha256 = %link.sha256, %error, "an artifact cannot be read");
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Artifact not readable",
                "the server cannot read this artifact from its data directory; its log says why",
            )
        }
    }
}

/// Conditions in the order of RFC 9110, section 13.2.2.
fn answer(
    serving: &Serving,
    whole: &Bytes,
    link: &Link,
    method: &Method,
    headers: &HeaderMap,
    now: Timestamp,
) -> Response {
    let etag = format!("\"{}\"", link.sha256);
    let max_age_s = link.expires_unix - now.as_second();
    let common = [
        (ETAG, etag.clone()),
        (CACHE_CONTROL, format!("private, max-age={max_age_s}, immutable")),
        (ACCEPT_RANGES, "bytes".to_owned()),
    ];
    if headers.contains_key(IF_MATCH) && !names(headers, IF_MATCH, &etag) {
        return (StatusCode::PRECONDITION_FAILED, common).into_response();
    }
    if names(headers, IF_NONE_MATCH, &etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    // A range is defined for GET alone, and holds only for the bytes that If-Range names.
    let range = headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok())
        .filter(|_| method == Method::GET)
        .filter(|_| headers.get(IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes()));
    let asked = range.map_or(Asked::Whole, |value| range::parse(value, whole.len()));
    let (status, bytes, content_range) = match asked {
        Asked::Whole => (StatusCode::OK, whole.clone(), None),
        Asked::Part(part) => {
            let text = format!("bytes {}-{}/{}", part.start, part.end - 1, whole.len());
            (StatusCode::PARTIAL_CONTENT, whole.slice(part), Some(text))
        }
        Asked::Unsatisfiable => {
            let content_range = [(CONTENT_RANGE, format!("bytes */{}", whole.len()))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, common, content_range).into_response();
        }
    };
    let is_windows = link.file_name.to_ascii_lowercase().ends_with(".exe");
    let content_type = if is_windows {
        "application/vnd.microsoft.portable-executable"
    } else {
        "application/octet-stream"
    };
    let content = [
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_LENGTH, bytes.len().to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", link.file_name)),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let body = if method == Method::HEAD { Body::empty() } else { sliced(serving.clone(), bytes) };
    let mut response = (status, common, content, body).into_response();
    if let Some(text) = content_range {
        let value = text.parse().expect("digits and dashes are a header's value");
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// True when a list of entity tags names this one, or any (`*`). Ours is strong, so that a weak one never equals it in
/// `If-Match`; in `If-None-Match` the weak form of ours does.
fn names(headers: &HeaderMap, header: HeaderName, etag: &str) -> bool {
    let weak_counts = header == IF_NONE_MATCH;
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| {
            let strong = if weak_counts { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            strong == etag || tag == "*"
        })
}

fn sliced(serving: Serving, bytes: Bytes) -> Body {
    Body::from_stream(stream::unfold((serving, bytes), async |(serving, mut rest)| {
        if rest.is_empty() {
            return None;
        }
        let slice = rest.split_to(serving.uplink.slice_bytes().min(rest.len()));
        serving.uplink.turn(slice.len()).await;
        serving.files.count_served(slice.len());
        Some((Ok::<_, std::convert::Infallible>(slice), (serving, rest)))
    }))
}

fn refused(error: LinkError) -> Response {
    let (status, code, title) = match error {
        LinkError::Forged => (StatusCode::NOT_FOUND, "not_found", "Not found"),
        LinkError::Expired => (StatusCode::GONE, "link_expired", "Link expired"),
    };
    problem(status, code, title, &error.to_string())
}

fn problem(status: StatusCode, code: &str, title: &str, detail: &str) -> Response {
    let problem = Problem {
        code: code.to_owned(),
        status: status.as_u16(),
        title: title.to_owned(),
        detail: detail.to_owned(),
    };
    let body = serde_json::to_vec(&problem).expect("a problem has string keys");
    (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use axum::body::HttpBody as _;
    use axum::http::Request;
    use axum::http::request::Builder;
    use http_body_util::BodyExt as _;
    use kenny_proto::Sha256Digest;
    use tower::ServiceExt as _;

    use super::*;
    use crate::releases::test_image::{TempFolder, agent_image, pieces};

    struct Fixture {
        image: Vec<u8>,
        sha256: Sha256Digest,
        signer: Signer,
        files: ReleaseFiles,
        router: Router,
        _data: TempFolder,
    }

    impl Fixture {
        async fn new() -> Self {
            let data = TempFolder::new();
            let files = ReleaseFiles::open(data.path()).unwrap();
            let image = agent_image("1.2.3", 700_000);
            let received = files.receive(pieces(&image)).await.unwrap();
            let sha256 = received.sha256;
            received.publish().await.unwrap();
            let signer = Signer::new(&[3; 32]);
            let router = router(files.clone(), signer.clone(), Uplink::default());
            Self { image, sha256, signer, files, router, _data: data }
        }

        fn path(&self, life_s: i64) -> String {
            let expires = Timestamp::from_second(Timestamp::now().as_second() + life_s).unwrap();
            self.signer.path(self.sha256, "kenny-agent-1.2.3-windows-x86_64.exe", expires)
        }

        fn etag(&self) -> String {
            format!("\"{}\"", self.sha256)
        }

        fn get(&self) -> Builder {
            Request::get(self.path(600))
        }

        async fn ask(&self, request: Builder) -> Response {
            self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
        }
    }

    fn header(response: &Response, name: HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    async fn body(response: Response) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_get_brings_the_whole_with_all_headers() {
        let fixture = Fixture::new().await;
        let response = fixture.ask(fixture.get()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, ETAG), fixture.etag());
        assert_eq!(header(&response, ACCEPT_RANGES), "bytes");
        assert_eq!(header(&response, CONTENT_LENGTH), fixture.image.len().to_string());
        assert_eq!(
            header(&response, CONTENT_TYPE),
            "application/vnd.microsoft.portable-executable"
        );
        assert_eq!(
            header(&response, CONTENT_DISPOSITION),
            "attachment; filename=\"kenny-agent-1.2.3-windows-x86_64.exe\""
        );
        let cache = header(&response, CACHE_CONTROL).to_owned();
        assert!(cache.starts_with("private, max-age=") && cache.ends_with("immutable"), "{cache}");
        assert_eq!(body(response).await, fixture.image);
        assert_eq!(fixture.files.served_bytes(), fixture.image.len() as u64);
    }

    #[tokio::test]
    async fn a_head_says_the_same_without_the_bytes_and_knows_no_range() {
        let fixture = Fixture::new().await;
        let request = Request::head(fixture.path(600)).header(RANGE, "bytes=0-1");
        let response = fixture.ask(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, CONTENT_LENGTH), fixture.image.len().to_string());
        assert_eq!(header(&response, ETAG), fixture.etag());
        assert_eq!(body(response).await, "");
    }

    #[tokio::test]
    async fn a_range_brings_those_bytes() {
        let fixture = Fixture::new().await;
        let length = fixture.image.len();
        for (range, expected) in [
            ("bytes=0-99".to_owned(), 0..100),
            ("bytes=300000-".to_owned(), 300_000..length),
            ("bytes=-7".to_owned(), length - 7..length),
            (format!("bytes=5-{}", length + 99), 5..length),
        ] {
            let response = fixture.ask(fixture.get().header(RANGE, &range)).await;
            assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(
                header(&response, CONTENT_RANGE),
                format!("bytes {}-{}/{length}", expected.start, expected.end - 1)
            );
            assert_eq!(header(&response, CONTENT_LENGTH), expected.len().to_string());
            assert_eq!(body(response).await, fixture.image[expected], "{range}");
        }
    }

    #[tokio::test]
    async fn several_ranges_bring_the_whole() {
        let fixture = Fixture::new().await;
        let response = fixture.ask(fixture.get().header(RANGE, "bytes=0-1,4-5")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, CONTENT_RANGE), "");
        assert_eq!(body(response).await.len(), fixture.image.len());
    }

    #[tokio::test]
    async fn a_range_behind_the_end_is_refused_with_the_length() {
        let fixture = Fixture::new().await;
        let length = fixture.image.len();
        let response = fixture.ask(fixture.get().header(RANGE, format!("bytes={length}-"))).await;
        assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(header(&response, CONTENT_RANGE), format!("bytes */{length}"));
    }

    #[tokio::test]
    async fn if_range_holds_for_these_bytes_only() {
        let fixture = Fixture::new().await;
        let weak = format!("W/{}", fixture.etag());
        for (if_range, status) in [
            (fixture.etag().as_str(), StatusCode::PARTIAL_CONTENT),
            ("\"other\"", StatusCode::OK),
            (weak.as_str(), StatusCode::OK),
            ("Wed, 21 Oct 2015 07:28:00 GMT", StatusCode::OK),
        ] {
            let request = fixture.get().header(RANGE, "bytes=1-2").header(IF_RANGE, if_range);
            assert_eq!(fixture.ask(request).await.status(), status, "{if_range}");
        }
    }

    #[tokio::test]
    async fn conditions_are_honoured() {
        let fixture = Fixture::new().await;
        let listed = format!("\"x\", W/{}", fixture.etag());
        for (name, value, status) in [
            (IF_NONE_MATCH, fixture.etag(), StatusCode::NOT_MODIFIED),
            (IF_NONE_MATCH, listed.clone(), StatusCode::NOT_MODIFIED),
            (IF_NONE_MATCH, "*".to_owned(), StatusCode::NOT_MODIFIED),
            (IF_NONE_MATCH, "\"other\"".to_owned(), StatusCode::OK),
            (IF_MATCH, fixture.etag(), StatusCode::OK),
            (IF_MATCH, listed, StatusCode::PRECONDITION_FAILED),
        ] {
            let response = fixture.ask(fixture.get().header(&name, &value)).await;
            assert_eq!(response.status(), status, "{name}: {value}");
            assert_eq!(header(&response, ETAG), fixture.etag());
        }
    }

    #[tokio::test]
    async fn links_that_do_not_hold_are_refused() {
        let fixture = Fixture::new().await;
        let forged = fixture.path(600).replace("1.2.3", "9.9.9");
        for (path, status, code) in [
            (fixture.path(-1), StatusCode::GONE, "link_expired"),
            (forged, StatusCode::NOT_FOUND, "not_found"),
            ("/artifacts/x/y/z/a.exe".to_owned(), StatusCode::NOT_FOUND, "not_found"),
        ] {
            let response = fixture.ask(Request::get(path)).await;
            assert_eq!(response.status(), status);
            assert_eq!(header(&response, CONTENT_TYPE), "application/problem+json");
            let problem: Problem = serde_json::from_slice(&body(response).await).unwrap();
            assert_eq!(problem.code, code);
        }
        let response = fixture.ask(Request::post(fixture.path(600))).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn two_gets_share_the_mapping() {
        let fixture = Fixture::new().await;
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let mut body = pin!(fixture.ask(fixture.get()).await.into_body());
            let mut total = 0;
            let mut first = None;
            while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() <= Uplink::default().slice_bytes());
                total += data.len();
                first.get_or_insert(data.as_ptr() as usize);
            }
            assert_eq!(total, fixture.image.len());
            addresses.push(first.unwrap());
        }
        assert_eq!(addresses[0], addresses[1]);
    }
}
