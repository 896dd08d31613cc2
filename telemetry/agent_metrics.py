"""What the agent tells about itself: the families of /metrics that begin with `devops_monitor_agent_`.

Standard library only; anybody may import it: the agent, dashboards, alert rules, the documentation.
"""

from __future__ import annotations

from telemetry.prometheus import Family, Type

PREFIX = "devops_monitor_agent_"
COLLECTOR, REASON = "collector", "reason"


def _family(name: str, type_: Type, help_text: str, *labels: str) -> Family:
    unit = next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")
    return Family(PREFIX + name, type_, unit, help_text, labels)


TARGET = Family(
    "target",
    Type.INFO,
    "",
    "The node that is read, and the agent that reads it",
    (
        "host_arch",
        "host_name",
        "k8s_cluster_name",
        "k8s_node_name",
        "k8s_nodepool_name",
        "os_kernel_release",
        "os_type",
        "service_instance_id",
        "service_name",
        "service_version",
    ),
)
"""OpenTelemetry's resource, as its Prometheus exporters give it: one series whose labels say where the others are from.

Join it: `system_cpu_busy_ratio * on(instance) group_left(k8s_cluster_name, k8s_nodepool_name) target_info`.
"""

BUILD = _family("build", Type.INFO, "The agent's version, and the Python it runs on", "python_version", "version")

LAST_SAMPLE = _family(
    "last_sample_timestamp_seconds", Type.GAUGE, "When the last sample was taken, by the node's clock, since 1970"
)
SAMPLE_DURATION = _family(
    "sample_duration_seconds", Type.GAUGE, "How long the last sample took, all collectors together"
)
TICKS_MISSED = _family(
    "ticks_missed", Type.COUNTER, "Samples not taken, because the one before took too long or the machine was asleep"
)
COLLECTOR_UP = _family("collector_up", Type.GAUGE, "Whether the collector's last run was without failure", COLLECTOR)
COLLECTOR_DURATION = _family(
    "collector_duration_seconds", Type.GAUGE, "How long the collector's last run took", COLLECTOR
)
COLLECTOR_RUNS = _family("collector_runs", Type.COUNTER, "Runs of the collector, failed ones included", COLLECTOR)
COLLECTOR_FAILURES = _family("collector_failures", Type.COUNTER, "Runs of the collector that failed", COLLECTOR)
COLLECTOR_REFUSED = _family(
    "collector_refused_values", Type.COUNTER, "Values outside the metric's range, which are not sent", COLLECTOR
)

BUILT = _family("envelopes_built", Type.COUNTER, "Envelopes made of samples and put into the spool")
PUBLISHED = _family(
    "envelopes_published", Type.COUNTER, "Envelopes acknowledged, those that earlier processes left behind included"
)
DROPPED = _family("envelopes_dropped", Type.COUNTER, "Envelopes lost for good", REASON)
RETRIES = _family("publish_retries", Type.COUNTER, "Attempts to publish that failed and are made again", REASON)
PUBLISH_DURATION = _family(
    "publish_duration_seconds", Type.HISTOGRAM, "How long the attempts to publish took that were acknowledged"
)
LAST_PUBLISH = _family(
    "last_publish_timestamp_seconds",
    Type.GAUGE,
    "When envelopes were last acknowledged, by the node's clock, since 1970",
)

SPOOL_ENVELOPES = _family("spool_envelopes", Type.GAUGE, "Envelopes that wait for their acknowledgement")
SPOOL_BYTES = _family("spool_bytes", Type.GAUGE, "Size of the envelopes that wait")
SPOOL_OLDEST_AGE = _family(
    "spool_oldest_age_seconds", Type.GAUGE, "How long the oldest envelope has waited; 0 when none waits"
)
SPOOL_DISK_FAILING = _family(
    "spool_disk_failing", Type.GAUGE, "1 while the spool's disk does not take what it is given, and memory has to"
)

PROCESS_CPU = _family("process_cpu_seconds", Type.COUNTER, "CPU time of the agent")
PROCESS_MEMORY = _family("process_resident_memory_bytes", Type.GAUGE, "Resident memory of the agent")
PROCESS_THREADS = _family(
    "process_threads", Type.GAUGE, "Threads of the agent; each call that hangs in the kernel keeps one"
)

AGENT_FAMILIES: tuple[Family, ...] = (
    TARGET,
    BUILD,
    LAST_SAMPLE,
    SAMPLE_DURATION,
    TICKS_MISSED,
    COLLECTOR_UP,
    COLLECTOR_DURATION,
    COLLECTOR_RUNS,
    COLLECTOR_FAILURES,
    COLLECTOR_REFUSED,
    BUILT,
    PUBLISHED,
    DROPPED,
    RETRIES,
    PUBLISH_DURATION,
    LAST_PUBLISH,
    SPOOL_ENVELOPES,
    SPOOL_BYTES,
    SPOOL_OLDEST_AGE,
    SPOOL_DISK_FAILING,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_THREADS,
)
"""In the order of /metrics."""
