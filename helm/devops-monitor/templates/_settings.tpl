{{/* The agent's settings (docs/settings.md) that are the same on every node. The agent takes an empty one as unset. */}}
{{- define "devops-monitor.settings" -}}
{{- $agent := .Values.agent -}}
AGENT_CLUSTER: {{ $agent.cluster | quote }}
AGENT_SAMPLE_INTERVAL: {{ $agent.sampleInterval | quote }}
AGENT_PUBLISH_INTERVAL: {{ $agent.publishInterval | quote }}
AGENT_PUBLISH_SPREAD: {{ $agent.publishSpread | quote }}
AGENT_COLLECTORS: {{ join "," $agent.collectors | quote }}
AGENT_LOG_LEVEL: {{ $agent.logLevel | quote }}
AGENT_DISK_INCLUDE: {{ $agent.disk.include | quote }}
AGENT_DISK_EXCLUDE: {{ $agent.disk.exclude | quote }}
AGENT_MOUNT_INCLUDE: {{ $agent.mount.include | quote }}
AGENT_MOUNT_EXCLUDE: {{ $agent.mount.exclude | quote }}
AGENT_FS_TYPE_INCLUDE: {{ $agent.fsType.include | quote }}
AGENT_FS_TYPE_EXCLUDE: {{ $agent.fsType.exclude | quote }}
AGENT_NET_INCLUDE: {{ $agent.net.include | quote }}
AGENT_NET_EXCLUDE: {{ $agent.net.exclude | quote }}
AGENT_PROCFS: /host/proc
AGENT_SYSFS: /host/sys
{{- if include "devops-monitor.readsFilesystems" . }}
AGENT_ROOTFS: /host/root
{{- end }}
AGENT_SPOOL_DIR: /spool
AGENT_SPOOL_MAX_BYTES: {{ int64 .Values.spool.maxBytes | quote }}
AGENT_SPOOL_MAX_AGE: {{ int64 .Values.spool.maxAge | quote }}
AGENT_SPOOL_FSYNC: {{ .Values.spool.fsync | quote }}
AGENT_HTTP_LISTEN: "0.0.0.0:{{ .Values.metrics.port }}"
{{- if include "devops-monitor.usesKubelet" . }}
AGENT_KUBELET_VERIFY: {{ $agent.kubelet.verify | quote }}
AGENT_KUBELET_CA_FILE: {{ $agent.kubelet.caFile | quote }}
AGENT_KUBELET_TOKEN_FILE: {{ $agent.kubelet.tokenFile | quote }}
{{- end }}
EVENTHUB_FULLY_QUALIFIED_NAMESPACE: {{ .Values.eventHubs.fullyQualifiedNamespace | quote }}
EVENTHUB_NAME: {{ .Values.eventHubs.name | quote }}
{{- end }}
