{{/* Parts of a pod that runs the agent; the DaemonSets and the pod of `helm test` are made of them. */}}

{{- define "devops-monitor.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "devops-monitor.securityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where the pod runs, and as whom. */}}
{{- define "devops-monitor.podDefaults" -}}
serviceAccountName: {{ include "devops-monitor.serviceAccountName" . }}
automountServiceAccountToken: {{ include "devops-monitor.usesKubelet" . | eq "true" }}
enableServiceLinks: false
hostNetwork: false
hostPID: false
hostIPC: false
securityContext:
  {{- include "devops-monitor.podSecurityContext" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
nodeSelector:
  {{- toYaml .Values.nodeSelector | nindent 2 }}
tolerations:
  {{- if .Values.tolerateAllTaints }}
  - operator: Exists
  {{- else }}
  {{- toYaml .Values.tolerations | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "devops-monitor.nodeMatchExpressions" -}}
# Virtual nodes have no node to look at.
- key: type
  operator: NotIn
  values: [virtual-kubelet]
{{- with .Values.nodeMatchExpressions }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Called with a dictionary of root and pool. */}}
{{- define "devops-monitor.env" -}}
{{- $root := .root -}}
envFrom:
  - configMapRef:
      name: {{ include "devops-monitor.fullname" $root }}
env:
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  - name: AGENT_POOL
    value: {{ .pool | quote }}
  {{- if include "devops-monitor.usesKubelet" $root }}
  - name: HOST_IP
    valueFrom:
      fieldRef:
        fieldPath: status.hostIP
  - name: AGENT_KUBELET_URL
    value: https://$(HOST_IP):10250
  {{- end }}
  {{- with include "devops-monitor.secretName" $root }}
  - name: EVENTHUB_CONNECTION_STRING
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: {{ include "devops-monitor.secretKey" $root }}
  {{- end }}
  {{- with $root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "devops-monitor.hostMounts" -}}
- name: proc
  mountPath: /host/proc
  readOnly: true
  mountPropagation: HostToContainer
- name: sys
  mountPath: /host/sys
  readOnly: true
  mountPropagation: HostToContainer
{{- if include "devops-monitor.readsFilesystems" . }}
- name: root
  mountPath: /host/root
  readOnly: true
  mountPropagation: HostToContainer
{{- end }}
{{- end }}

{{- define "devops-monitor.hostVolumes" -}}
- name: proc
  hostPath:
    path: /proc
    type: Directory
- name: sys
  hostPath:
    path: /sys
    type: Directory
{{- if include "devops-monitor.readsFilesystems" . }}
- name: root
  hostPath:
    path: /
    type: Directory
{{- end }}
{{- end }}

{{- define "devops-monitor.spoolVolume" -}}
- name: spool
  {{- if eq .Values.spool.type "hostPath" }}
  hostPath:
    path: {{ .Values.spool.hostPath.path }}
    type: DirectoryOrCreate
  {{- else }}
  emptyDir:
    # An envelope of 1 kB takes a block of 4 KiB, and a pod over its limit is evicted.
    sizeLimit: {{ mul 4 (int64 .Values.spool.maxBytes) | quote }}
  {{- end }}
{{- end }}
