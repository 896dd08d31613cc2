{{- define "devops-monitor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* At most 50 characters: a DaemonSet adds its pool's name, and its name becomes a label's value. */}}
{{- define "devops-monitor.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "devops-monitor.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "devops-monitor.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Names of resources without a namespace: two releases of one name may live in two namespaces. */}}
{{- define "devops-monitor.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "devops-monitor.fullname" .) }}
{{- end }}

{{- define "devops-monitor.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: devops-monitor
{{ include "devops-monitor.releaseLabels" . }}
{{- end }}

{{- define "devops-monitor.releaseLabels" -}}
app.kubernetes.io/name: {{ include "devops-monitor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What the agent's pods have, and no other pod of the release. */}}
{{- define "devops-monitor.selectorLabels" -}}
{{ include "devops-monitor.releaseLabels" . }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "devops-monitor.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "devops-monitor.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "devops-monitor.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* "true" or nothing, for `if`. */}}
{{- define "devops-monitor.usesKubelet" -}}
{{- if has "kubernetes" .Values.agent.collectors }}true{{ end }}
{{- end }}

{{- define "devops-monitor.readsFilesystems" -}}
{{- if or (has "default" .Values.agent.collectors) (has "filesystem" .Values.agent.collectors) }}true{{ end }}
{{- end }}

{{/* Name of the Secret with the connection string; nothing where an identity is used. */}}
{{- define "devops-monitor.secretName" -}}
{{- if .Values.eventHubs.existingSecret.name -}}
{{ .Values.eventHubs.existingSecret.name }}
{{- else if .Values.eventHubs.connectionString -}}
{{ include "devops-monitor.fullname" . }}
{{- end }}
{{- end }}

{{- define "devops-monitor.secretKey" -}}
{{- if .Values.eventHubs.existingSecret.name }}{{ .Values.eventHubs.existingSecret.key }}{{ else }}EVENTHUB_CONNECTION_STRING{{ end }}
{{- end }}

{{/* Peers of a NetworkPolicy for a list of CIDRs; of the whole internet, the nodes' own services are left out. */}}
{{- define "devops-monitor.peers" -}}
{{- range . }}
- ipBlock:
    cidr: {{ . }}
    {{- if eq . "0.0.0.0/0" }}
    except: [169.254.0.0/16, 168.63.129.16/32]
    {{- end }}
{{- end }}
{{- end }}
