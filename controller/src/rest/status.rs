//! How the mesh stands, node by node.

use axum::Json;
use axum::extract::State;
use espalier_api::{MeshStatus, NodeStatus};

use super::{AppState, Problem};
use crate::planner::{World, WorldNode};

pub(super) async fn read(State(app): State<AppState>) -> Result<Json<MeshStatus>, Problem> {
    let world = app.world();
    Ok(Json(MeshStatus {
        epoch: world.version.epoch,
        generation: world.version.generation,
        key_epoch: world.key_epoch,
        certificate_epoch: world.certificate_epoch,
        nodes: world.nodes.iter().map(|node| show(&app, &world, node)).collect(),
    }))
}

fn show(app: &AppState, world: &World, node: &WorldNode) -> NodeStatus {
    let live = app.fleet.get(&node.name);
    NodeStatus {
        name: node.name.clone(),
        identity: node.name.node_identity(&world.mesh.trust_domain),
        labels: node.labels.clone(),
        endpoints: node.spec.endpoints.clone(),
        addresses: node.spec.addresses.iter().map(|net| net.addr().to_string()).collect(),
        connected: live.connected,
        current: live.connected && live.seen >= world.version && live.applied >= live.sent && live.refused.is_none(),
        applied: live.applied.generation,
        refused: live.refused,
        certificate_epoch: live.report.certificate_epoch,
        certificate_not_after: live.report.certificate_not_after,
        ike_sas: live.report.ike_sas,
    }
}
