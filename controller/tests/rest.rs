//! REST as operators meet it: documents, entity tags, pages, and problems that say what is wrong and where.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

#[path = "common/controller.rs"]
mod common;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use common::{ADMIN, Controller};
use espalier_controller::rest;
use serde_json::Value;
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    kind: String,
    etag: String,
    body: Value,
}

async fn send(controller: &Controller, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = rest::router(Arc::clone(&controller.app)).oneshot(request).await.unwrap();
    let header = |name| response.headers().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let (status, kind, etag) = (response.status(), header("content-type"), header("etag"));
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    Answer { status, kind, etag, body: serde_json::from_slice(&bytes).unwrap_or_default() }
}

async fn admin(controller: &Controller, method: &str, path: &str, body: &str) -> Answer {
    send(controller, method, path, &[("authorization", &format!("Bearer {ADMIN}"))], body).await
}

fn policy(name: &str, spec: &str) -> String {
    format!("{{apiVersion: espalier/v1, kind: Policy, metadata: {{name: {name}}}, spec: {spec}}}")
}

const GOOD: &str = "{from: any, to: any, traffic: any, action: drop}";

#[tokio::test]
async fn without_an_administrators_token_nothing_is_told() {
    let controller = Controller::new().await;
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", ADMIN)]] {
        for path in ["/mesh", "/nodes", "/policies", "/join-tokens", "/rotations", "/certificates", "/status"] {
            let answer = send(&controller, "GET", path, headers, "").await;
            assert_eq!((answer.status, answer.kind.as_str()), (StatusCode::UNAUTHORIZED, "application/problem+json"));
        }
    }
}

#[tokio::test]
async fn a_policy_that_is_wrong_is_refused_with_a_pointer_and_changes_nothing() {
    let controller = Controller::new().await;
    let before = controller.app.world().version;
    let wrong = [
        ("{from: any, to: any, traffic: any, action: drop, acton: drop}", "/spec"),
        (
            "{from: {expressions: [{key: a, operator: Like, values: [b]}]}, to: any, traffic: any, action: drop}",
            "/spec/from",
        ),
        ("{from: {nodes: []}, to: any, traffic: any, action: drop}", "/spec/from"),
        ("{from: any, to: any, traffic: [], action: drop}", "/spec/traffic"),
        ("{from: any, to: any, traffic: any, action: protekt}", "/spec/action"),
        ("{from: any, to: any, traffic: any, action: protect, profile: strong}", "/spec/profile"),
    ];
    for (spec, pointer) in wrong {
        let answer = admin(&controller, "PUT", "/policies/web", &policy("web", spec)).await;
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, "application/problem+json")
        );
        let found = answer.body["errors"][0]["pointer"].as_str().unwrap();
        assert!(found.starts_with(pointer), "{spec}: {found}, {}", answer.body);
    }
    let other = admin(&controller, "PUT", "/policies/web", &policy("db", GOOD)).await;
    assert_eq!(other.body["errors"][0]["pointer"], "/metadata/name");
    assert_eq!(admin(&controller, "PUT", "/policies/web", "]").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(controller.app.world().version, before);
}

#[tokio::test]
async fn changes_are_made_on_what_was_read() {
    let controller = Controller::new().await;
    let made = admin(&controller, "PUT", "/policies/web", &policy("web", GOOD)).await;
    assert_eq!((made.status, made.etag.as_str()), (StatusCode::CREATED, "\"1\""));
    let bearer = format!("Bearer {ADMIN}");
    let put = |tag: &'static str| {
        let (controller, bearer) = (&controller, bearer.clone());
        async move {
            let headers = [("authorization", bearer.as_str()), ("if-match", tag)];
            send(controller, "PUT", "/policies/web", &headers, &policy("web", GOOD)).await
        }
    };
    assert_eq!(put("\"1\"").await.etag, "\"2\"");
    assert_eq!(put("\"1\"").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put("1").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(admin(&controller, "DELETE", "/policies/web", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin(&controller, "GET", "/policies/web", "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin(&controller, "PATCH", "/policies/web", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let controller = Controller::new().await;
    for name in ["a", "b", "c"] {
        admin(&controller, "PUT", &format!("/policies/{name}"), &policy(name, GOOD)).await;
    }
    let mut names = Vec::new();
    let mut path = "/policies?limit=2".to_owned();
    loop {
        let page = admin(&controller, "GET", &path, "").await.body;
        names.extend(
            page["items"].as_array().unwrap().iter().map(|d| d["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/policies?limit=2&cursor={next}");
    }
    assert_eq!(names, ["a", "b", "c", "default"]);
    assert_eq!(admin(&controller, "GET", "/policies?limit=0", "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_mesh_keeps_its_domain_and_pools() {
    let controller = Controller::new().await;
    let mesh = admin(&controller, "GET", "/mesh", "").await;
    let mut document = mesh.body.clone();
    document["spec"]["scope"] = serde_json::json!(["192.0.2.0/24"]);
    let changed = admin(&controller, "PUT", "/mesh", &document.to_string()).await;
    assert_eq!((changed.status, changed.etag.as_str()), (StatusCode::OK, "\"2\""));
    document["spec"]["trustDomain"] = "other.example".into();
    let refused = admin(&controller, "PUT", "/mesh", &document.to_string()).await;
    assert_eq!(refused.body["errors"][0]["pointer"], "/spec/trustDomain");
}

#[tokio::test]
async fn tokens_are_shown_once_and_rotations_count() {
    let controller = Controller::new().await;
    let token = "{apiVersion: espalier/v1, kind: JoinToken, metadata: {name: one}, spec: {uses: 2}}";
    let made = admin(&controller, "POST", "/join-tokens", token).await;
    assert!(made.body["token"].as_str().unwrap().starts_with("espalier1:"));
    assert_eq!(admin(&controller, "POST", "/join-tokens", token).await.status, StatusCode::CONFLICT);
    let list = admin(&controller, "GET", "/join-tokens", "").await.body;
    assert_eq!((&list["items"][0]["usesLeft"], &list["items"][0]["token"]), (&2.into(), &Value::Null));
    let rotation = "{apiVersion: espalier/v1, kind: Rotation, metadata: {name: one}, spec: {scope: keys}}";
    let started = admin(&controller, "POST", "/rotations", rotation).await;
    assert_eq!((started.status, &started.body["epoch"]), (StatusCode::CREATED, &1.into()));
    assert_eq!(admin(&controller, "GET", "/rotations/two", "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin(&controller, "GET", "/nowhere", "").await.status, StatusCode::NOT_FOUND);
}
