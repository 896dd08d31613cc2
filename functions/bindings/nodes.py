"""`nodes` and `node`: the list of nodes, and the snapshot of one."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import azure.functions as func

from functions.adapters.continuation import BadContinuation
from functions.adapters.node_directory import Summary
from functions.bindings.http import Problem, answer, guarded, integer, is_unchanged, not_modified, only
from functions.bindings.services import services
from functions.core.fleet import Fleet
from functions.core.ports import StoredState
from functions.core.rows import timestamp
from functions.core.snapshot import snapshot
from telemetry.rules import NAME_PATTERN

blueprint = func.Blueprint()
MAX_POOL = 128
"""Characters; an envelope's resource values are no longer."""
_FILTERS = {"cluster": "PartitionKey", "pool": "Pool", "status": "Status"}


@blueprint.function_name("nodes")
@blueprint.route(route="nodes", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@guarded
def nodes(req: func.HttpRequest) -> func.HttpResponse:
    """GET /nodes?cluster=&pool=&status=live|silent&limit=&continuation= : one page of nodes."""
    only(req, *_FILTERS, "limit", "continuation")
    limit = integer(req, "limit", 100, 1, 1000)
    if req.params.get("status", "live") not in ("live", "silent"):
        raise Problem(400, "Bad parameter", f"status must be live or silent, got {req.params['status'][:40]!r}")
    cluster, pool = req.params.get("cluster", "any"), req.params.get("pool", "")
    if not re.fullmatch(NAME_PATTERN, cluster):
        raise Problem(400, "Bad parameter", f"cluster must match {NAME_PATTERN}, got {cluster[:40]!r}")
    if not pool.isprintable() or len(pool) > MAX_POOL:
        raise Problem(400, "Bad parameter", f"pool must be at most {MAX_POOL} printable characters, got {pool[:40]!r}")
    filters = {column: req.params[name] for name, column in _FILTERS.items() if name in req.params}
    try:
        found, following = services().directory.page(
            limit=limit, continuation=req.params.get("continuation"), filters=filters
        )
    except BadContinuation as error:
        raise Problem(400, "Bad parameter", str(error)) from None
    body: dict[str, Any] = {"nodes": [_line(summary) for summary in found], "next": None}
    if following:
        kept = {name: req.params[name] for name in (*_FILTERS, "limit") if name in req.params}
        body["next"] = f"/api/nodes?{urlencode({**kept, 'continuation': following})}"
    return answer(body)


@blueprint.function_name("node")
@blueprint.route(route="nodes/{cluster}/{node}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@guarded
def node(req: func.HttpRequest) -> func.HttpResponse:
    """GET /nodes/{cluster}/{node} : the node's newest sample; 304 with If-None-Match while it is unchanged."""
    only(req)
    key = req.route_params["cluster"], req.route_params["node"]
    for name in key:
        if not re.fullmatch(NAME_PATTERN, name):
            raise Problem(400, "Bad name", f"{name[:80]!r} is no cluster or node name; they match {NAME_PATTERN}")
    stored = services().directory.state(*key)
    if stored is None:
        raise Problem(404, "Unknown node", f"nothing was ever received of node {key[1]} of cluster {key[0]}")
    blob, version = stored
    etag = '"' + quote(version, safe="") + '"'
    headers = {"ETag": etag}
    if is_unchanged(req, etag):
        return not_modified(headers)
    fleet = Fleet()
    fleet.admit({key: StoredState(blob, version)})
    return answer(snapshot(fleet.nodes[key]), headers=headers)


def _line(summary: Summary) -> dict[str, Any]:
    return {
        "cluster": summary.cluster,
        "node": summary.node,
        "pool": summary.pool,
        "status": summary.status,
        "receivedTime": timestamp(summary.last_seen_ms),
        "anomaly": {"score": summary.anomaly_score, "metric": summary.anomaly_metric or None},
        "incident": {"id": summary.incident_id, "severity": summary.severity} if summary.incident_id else None,
        "snapshot": f"/api/nodes/{quote(summary.cluster)}/{quote(summary.node)}",
    }
