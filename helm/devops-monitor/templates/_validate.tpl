{{/* What the schema cannot say: rules between values. Each message names the values and what to do; all are reported at once. */}}
{{- define "devops-monitor.validate" -}}
{{- $problems := list }}
{{- $values := .Values }}
{{- if not $values.image.repository }}
{{- $problems = append $problems "image.repository must be set: where you pushed the image, for example myregistry.azurecr.io/devops-monitor/agent" }}
{{- end }}
{{- if not $values.agent.cluster }}
{{- $problems = append $problems "agent.cluster must be set: the name of this cluster in tables and queries, for example aks-prod" }}
{{- end }}

{{- $hub := $values.eventHubs }}
{{- $ways := compact (list $hub.fullyQualifiedNamespace $hub.connectionString $hub.existingSecret.name) }}
{{- if eq (len $ways) 0 }}
{{- $problems = append $problems "nothing says where to publish: set eventHubs.fullyQualifiedNamespace (workload identity), eventHubs.existingSecret.name or eventHubs.connectionString" }}
{{- else if gt (len $ways) 1 }}
{{- $problems = append $problems "only one of eventHubs.fullyQualifiedNamespace, eventHubs.connectionString and eventHubs.existingSecret.name may be set: the first for an identity, the others for a key" }}
{{- end }}
{{- if and $hub.connectionString (not (and (regexMatch "(^|;)Endpoint=sb://[^/;]+" $hub.connectionString) (contains "SharedAccess" $hub.connectionString))) }}
{{- $problems = append $problems "eventHubs.connectionString must be like Endpoint=sb://HOST/;SharedAccessKeyName=NAME;SharedAccessKey=KEY (its value is not shown)" }}
{{- end }}
{{- if and $hub.fullyQualifiedNamespace (not $values.workloadIdentity.clientId) }}
{{- $problems = append $problems "eventHubs.fullyQualifiedNamespace needs workloadIdentity.clientId: the client id of the managed identity that may send" }}
{{- end }}
{{- if and $values.workloadIdentity.clientId (not $hub.fullyQualifiedNamespace) }}
{{- $problems = append $problems "workloadIdentity.clientId is of no use without eventHubs.fullyQualifiedNamespace; set that, or leave the client id out" }}
{{- end }}
{{- if and $values.workloadIdentity.tenantId (not $values.workloadIdentity.clientId) }}
{{- $problems = append $problems "workloadIdentity.tenantId is of no use without workloadIdentity.clientId" }}
{{- end }}
{{- if and $hub.fullyQualifiedNamespace (not $hub.name) }}
{{- $problems = append $problems "eventHubs.name must be set: the name of the event hub in the namespace" }}
{{- end }}

{{- range $name := list "disk" "mount" "fsType" "net" }}
{{- with index $values.agent $name }}
{{- if and .include .exclude }}
{{- $problems = append $problems (printf "agent.%s.include and agent.%s.exclude are both set; set the first to name what is wanted, or the second" $name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- $sample := float64 $values.agent.sampleInterval }}
{{- $publish := float64 $values.agent.publishInterval }}
{{- if lt $publish $sample }}
{{- $problems = append $problems (printf "agent.publishInterval must be at least agent.sampleInterval (%v s), got %v" $sample $publish) }}
{{- else if gt (divf $publish $sample) 600.0 }}
{{- $problems = append $problems (printf "agent.publishInterval must be at most 600 times agent.sampleInterval (%v s), got %v" $sample $publish) }}
{{- end }}

{{- if and (not $values.serviceAccount.create) (not $values.serviceAccount.name) }}
{{- $problems = append $problems "serviceAccount.name must be set where serviceAccount.create is false" }}
{{- end }}
{{- if and $values.priorityClass.create (not $values.priorityClass.name) }}
{{- $problems = append $problems "priorityClass.name must be set where priorityClass.create is true" }}
{{- end }}
{{- if and $values.priorityClass.create (hasPrefix "system-" $values.priorityClass.name) }}
{{- $problems = append $problems (printf "priorityClass.name must not begin with system- where priorityClass.create is true, got %s" $values.priorityClass.name) }}
{{- end }}
{{- range $values.nodeMatchExpressions }}
{{- $takesValues := not (has .operator (list "Exists" "DoesNotExist")) }}
{{- if and $takesValues (not .values) }}
{{- $problems = append $problems (printf "nodeMatchExpressions: %s must have values with the operator %s" .key .operator) }}
{{- else if and .values (not $takesValues) }}
{{- $problems = append $problems (printf "nodeMatchExpressions: %s must have no values with the operator %s" .key .operator) }}
{{- end }}
{{- end }}
{{- range $values.extraEnv }}
{{- if or (hasPrefix "AGENT_" .name) (hasPrefix "EVENTHUB_" .name) (has .name (list "NODE_NAME" "HOST_IP")) }}
{{- $problems = append $problems (printf "extraEnv must not set %s; the chart has a value for it, see README.md" .name) }}
{{- end }}
{{- end }}
{{- range $label, $_ := $values.podLabels }}
{{- range $prefix := list "app.kubernetes.io/" "azure.workload.identity/" "devops-monitor/" "helm.sh/" }}
{{- if hasPrefix $prefix $label }}
{{- $problems = append $problems (printf "podLabels must not set %s; the chart sets it" $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $annotation, $_ := $values.podAnnotations }}
{{- if or (hasPrefix "prometheus.io/" $annotation) (eq $annotation "checksum/config") }}
{{- $problems = append $problems (printf "podAnnotations must not set %s; the chart sets it, see metrics.discovery" $annotation) }}
{{- end }}
{{- end }}
{{- range $annotation, $_ := $values.serviceAccount.annotations }}
{{- if hasPrefix "azure.workload.identity/" $annotation }}
{{- $problems = append $problems (printf "serviceAccount.annotations must not set %s; set workloadIdentity instead" $annotation) }}
{{- end }}
{{- end }}

{{- if $problems }}
{{- fail (printf "\n\nThe values cannot be used:\n  - %s\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end }}
