//! The document of all routes: what every route may answer is added here once, and a page is made of it.
//!
//! Knows no route by name. Rule: what a route may answer stands in the document, and nothing else is answered.

use std::fmt::Write as _;

use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};

use super::problem::{Code, MEDIA_TYPE, ProblemDetails};

/// Routes that need a token.
pub(super) const PRIVATE: &str = "/v1/";

/// What a page of problems says about a code: see `Code`.
const CODES: &[Code] = &[
    Code::BadRequest,
    Code::Unauthenticated,
    Code::TokenExpired,
    Code::Forbidden,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::Held,
    Code::Locked,
    Code::StaleView,
    Code::StaleToken,
    Code::LockLost,
    Code::SessionOver,
    Code::TooSlow,
    Code::TooLarge,
    Code::UnsupportedMediaType,
    Code::Invalid,
    Code::Mismatch,
    Code::TooManyRequests,
    Code::Internal,
    Code::TenureAway,
    Code::StoreAway,
    Code::Full,
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenure chat",
        description = "Chats that persist, with locks over HTTP: the companion of the Tenure lock server.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(ProblemDetails))
)]
struct Frame;

/// What the routes are added to.
pub(super) fn frame() -> Document {
    Frame::openapi()
}

/// Adds what every route may answer.
pub(super) fn complete(mut document: Document) -> Document {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT");
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    for (path, item) in &mut document.paths.paths {
        let is_private = path.starts_with(PRIVATE);
        let has_id = path.contains('{');
        for operation in operations(item) {
            complete_operation(operation, is_private, has_id);
        }
    }
    document
}

fn complete_operation(operation: &mut Operation, is_private: bool, has_id: bool) {
    let has_body = operation.request_body.is_some();
    let mut may = |status: &str, description: &str, applies: bool| {
        if applies && !operation.responses.responses.contains_key(status) {
            let problem = Ref::from_schema_name("ProblemDetails");
            let content = Content::new(Some(RefOr::Ref(problem)));
            let response = ResponseBuilder::new()
                .description(description)
                .content(MEDIA_TYPE, content);
            operation
                .responses
                .responses
                .insert(status.to_owned(), RefOr::T(response.build()));
        }
    };
    may("400", "`bad_request`: it cannot be read", is_private);
    may(
        "401",
        "`unauthenticated`, `token_expired`: a token is needed",
        is_private,
    );
    may(
        "404",
        "`not_found`: there is none, or it is not yours to see",
        has_id,
    );
    may("408", "`too_slow`: the body did not come in time", has_body);
    may("413", "`too_large`", has_body);
    may(
        "415",
        "`unsupported_media_type`: JSON is expected",
        has_body,
    );
    may(
        "422",
        "`invalid`, `mismatch`: it can be read, and cannot be done",
        is_private,
    );
    may("429", "`too_many_requests`: see `retry-after`", is_private);
    may("500", "`internal`: a fault of the service", is_private);
    may(
        "503",
        "`tenure_away`, `store_away`, `full`: see `retry-after`",
        is_private,
    );
    if is_private {
        let none: [&str; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new("token", none)]);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ];
    all.into_iter().filter_map(Option::as_mut)
}

/// A page that shows the document: no script, nothing from elsewhere.
pub(super) fn page(document: &Document) -> String {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut page = String::from(HEAD);
    let tags = [
        "chats",
        "messages",
        "marks",
        "chat locks",
        "document locks",
        "presence",
        "live",
        "operations",
    ];
    for tag in tags {
        let _ = write!(page, "<h2>{tag}</h2>");
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if operation["tags"]
                    .as_array()
                    .is_some_and(|tags| tags.contains(&tag.into()))
                {
                    show_operation(&mut page, method, path, operation);
                }
            }
        }
    }
    page.push_str("<h2>problems</h2><dl>");
    for code in CODES {
        let (status, title) = code.described();
        let name = code.name();
        let _ = write!(
            page,
            "<dt id=\"{name}\"><code>{name}</code> <b>{status}</b></dt><dd>{title}</dd>"
        );
    }
    page.push_str("</dl><h2>shapes</h2>");
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
    {
        show_schema(&mut page, name, schema);
    }
    page.push_str("</main></body></html>");
    page
}

fn show_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let _ = write!(
        page,
        "<details><summary><b>{}</b> <code>{}</code> {}</summary><p>{}</p>",
        method.to_uppercase(),
        escaped(path),
        text(&operation["summary"]),
        text(&operation["description"]),
    );
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    page.push_str("<table>");
    for parameter in parameters {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        let about = text(&parameter["description"]);
        let _ = write!(
            page,
            "<tr><td><code>{name}</code></td><td>{place}</td><td>{about}</td></tr>"
        );
    }
    for (media, content) in operation["requestBody"]["content"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let shape = shape(&content["schema"]);
        let _ = write!(
            page,
            "<tr><td>body</td><td>{}</td><td>{shape}</td></tr>",
            escaped(media)
        );
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let about = text(&response["description"]);
        let content = response["content"].as_object().into_iter().flatten();
        let shapes: Vec<_> = content
            .map(|(_, content)| shape(&content["schema"]))
            .collect();
        let _ = write!(
            page,
            "<tr><td><b>{}</b></td><td>{about}</td><td>{}</td></tr>",
            escaped(status),
            shapes.join(", ")
        );
    }
    page.push_str("</table></details>");
}

fn show_schema(page: &mut String, name: &str, schema: &Value) {
    let name = escaped(name);
    let about = escaped(schema["description"].as_str().unwrap_or_default());
    let _ = write!(
        page,
        "<details id=\"shape-{name}\"><summary><code>{name}</code> {about}</summary><table>"
    );
    let parts = schema["allOf"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([schema]);
    for part in parts {
        if part.get("$ref").is_some() {
            let _ = write!(
                page,
                "<tr><td>all of</td><td>{}</td><td></td></tr>",
                shape(part)
            );
        }
        for (field, value) in part["properties"].as_object().into_iter().flatten() {
            let about = escaped(value["description"].as_str().unwrap_or_default());
            let _ = write!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{about}</td></tr>",
                escaped(field),
                shape(value)
            );
        }
    }
    page.push_str("</table></details>");
}

/// What a schema is, in a word, with a link if it has a name.
fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        let name = escaped(name);
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    if let Some(some) = schema["oneOf"].as_array() {
        return some.iter().map(shape).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", shape(&schema["items"])),
        Value::String(kind) => escaped(kind),
        Value::Array(kinds) => {
            let kinds: Vec<_> = kinds
                .iter()
                .filter_map(Value::as_str)
                .map(escaped)
                .collect();
            kinds.join(" or ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "anything".to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Tenure chat</title><style>\
body{font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff;margin:0}\
main{max-width:60rem;margin:0 auto;padding:1rem}code{font:14px ui-monospace,monospace}\
details{border:1px solid #ddd;border-radius:4px;margin:.4rem 0;padding:.3rem .6rem}\
summary{cursor:pointer}table{border-collapse:collapse;width:100%}td{border-top:1px solid #eee;padding:.2rem .5rem;\
vertical-align:top}dd{margin:0 0 .5rem 1rem}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}details{border-color:#444}td{border-color:#333}\
a{color:#8bf}}</style></head><body><main><h1>Tenure chat</h1><p>Every request but those for operations names who asks: \
<code>authorization: Bearer TOKEN</code>. The same as a document for programs: \
<a href=\"/openapi.json\">/openapi.json</a>.</p>";
