{{- define "app.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 46 characters: with `-prune` appended it names a CronJob, whose name may have at most 52. */}}
{{- define "app.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- $name := include "app.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "app.serviceAccountName" -}}
{{- default (include "app.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "app.migrationName" -}}
{{- printf "%s-migrate" (include "app.fullname" .) }}
{{- end }}

{{- define "app.migrationServiceAccountName" -}}
{{- default (include "app.migrationName" .) .Values.migration.serviceAccountName }}
{{- end }}

{{- define "app.databaseSecret" -}}
{{- default (printf "%s-database" (include "app.fullname" .)) .Values.secrets.existingDatabaseSecret }}
{{- end }}

{{- define "app.apiKeySecret" -}}
{{- default (printf "%s-api-key" (include "app.fullname" .)) .Values.secrets.existingApiKeySecret }}
{{- end }}

{{- define "app.image" -}}
{{- $repository := .Values.image.repository }}
{{- if .Values.image.registry }}
{{- $repository = printf "%s/%s" .Values.image.registry .Values.image.repository }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Labels by which other objects select pods. Takes a dict of root and component. */}}
{{- define "app.selectorLabels" -}}
app.kubernetes.io/name: {{ include "app.name" .root | toYaml }}
app.kubernetes.io/instance: {{ toYaml .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "app.labels" -}}
{{ include "app.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Labels of pods, without the versions of the chart and of the service: a new version in a label would replace pods even
if nothing else changed. The image's digest says what runs.
*/}}
{{- define "app.podLabels" -}}
{{ include "app.selectorLabels" . }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Annotation of pods; takes the container's name. EKS gives the credentials of a ServiceAccount's role to every container
of its pods, whether the pod mounts a token or not. External Secrets uses the role; no container does.
*/}}
{{- define "app.noCredentials" -}}
eks.amazonaws.com/skip-containers: {{ . }}
{{- end }}

{{/* Security context of every pod of this chart, without any privilege. */}}
{{- define "app.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
fsGroup: 65534
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "app.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
capabilities:
  drop:
    - ALL
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The nodes that pods of this chart run on, and their pull secrets. */}}
{{- define "app.placement" -}}
{{- with .Values.scheduling.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.priorityClassName }}
priorityClassName: {{ toYaml . }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ toYaml . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The CA of the database's certificate, as a volume and, below, its mount. */}}
{{- define "app.caVolume" -}}
{{- with .Values.database.caConfigMap }}
- name: database-ca
  configMap:
    name: {{ toYaml . }}
    defaultMode: 0444
    items:
      - key: ca.pem
        path: ca.pem
{{- end }}
{{- end }}

{{- define "app.caMount" -}}
{{- if .Values.database.caConfigMap }}
- name: database-ca
  mountPath: /run/payment-latency-api/ca
  readOnly: true
{{- end }}
{{- end }}

{{/* Name of a secret in Secrets Manager. Takes a dict of root and what. */}}
{{- define "app.remoteName" -}}
{{- $given := dict "api-key" .root.Values.externalSecrets.apiKeyName
                   "database" .root.Values.externalSecrets.databaseName
                   "database-owner" .root.Values.externalSecrets.databaseOwnerName }}
{{- default (printf "payment-latency-api/%s/%s" .root.Values.environment .what) (get $given .what) }}
{{- end }}

{{/* Template of the URL that External Secrets builds from a secret's fields. Takes a dict of root and prefix, which is
put before the fields' names. A password may contain any character. urlquery writes a space as "+", which means a plus
in a URL's user part, so "%20" replaces it. */}}
{{- define "app.databaseUrl" -}}
{{- $prefix := .prefix -}}
{{- $database := .root.Values.database -}}
{{- $escape := `| urlquery | replace "+" "%20"` -}}
{{- $place := printf "{{ .%shost }}:{{ .%sport }}/{{ .%sdbname %s }}" $prefix $prefix $prefix $escape -}}
{{- if $database.host -}}
{{- $host := ternary (default $database.host $database.ownerHost) $database.host (eq $prefix "owner_") -}}
{{- $place = printf "%s:%d/%s" $host (int $database.port) $database.name -}}
{{- end -}}
postgresql://{{ printf "{{ .%susername %s }}:{{ .%spassword %s }}" $prefix $escape $prefix $escape }}@{{ $place }}?sslmode=verify-full
{{- if $database.caConfigMap }}&sslrootcert=/run/payment-latency-api/ca/ca.pem{{ end }}
{{- end }}

{{/* Fields that the API server would default are written out, so that Argo CD shows no drift. Takes a dict of root, key
and property. */}}
{{- define "app.remoteRef" -}}
key: {{ toYaml .key }}
{{- with .property }}
property: {{ . }}
{{- end }}
conversionStrategy: Default
decodingStrategy: None
metadataPolicy: None
{{- with .root.Values.externalSecrets.nullBytePolicy }}
nullBytePolicy: {{ . }}
{{- end }}
{{- end }}

{{/* The fields of one secret in Secrets Manager. Takes a dict of root, what and prefix. */}}
{{- define "app.databaseFields" -}}
{{- $fields := list "username" "password" }}
{{- if not .root.Values.database.host }}
{{- $fields = concat (list "host" "port" "dbname") $fields }}
{{- end }}
{{- $key := include "app.remoteName" (dict "root" .root "what" .what) }}
{{- range $field := $fields }}
- secretKey: {{ $.prefix }}{{ $field }}
  remoteRef:
    {{- include "app.remoteRef" (dict "root" $.root "key" $key "property" $field) | nindent 4 }}
{{- end }}
{{- end }}

{{/* How External Secrets logs in to AWS. Takes a dict of root, serviceAccount and roleArn. */}}
{{- define "app.secretStoreProvider" -}}
aws:
  service: SecretsManager
  region: {{ .root.Values.region }}
  {{- $static := .root.Values.externalSecrets.staticCredentials }}
  {{- if $static.secretName }}
  auth:
    secretRef:
      accessKeyIDSecretRef:
        name: {{ toYaml $static.secretName }}
        key: {{ toYaml $static.accessKeyIdKey }}
      secretAccessKeySecretRef:
        name: {{ toYaml $static.secretName }}
        key: {{ toYaml $static.secretAccessKeyKey }}
  {{- else if .roleArn }}
  auth:
    jwt:
      serviceAccountRef:
        name: {{ toYaml .serviceAccount }}
  {{- end }}
{{- end }}

{{/* Whether External Secrets creates the Secret of the database and, below, that of the API key. */}}
{{- define "app.makesDatabaseSecret" -}}
{{- if and .Values.externalSecrets.enabled (not .Values.secrets.existingDatabaseSecret) }}true{{ end }}
{{- end }}
{{- define "app.makesApiKeySecret" -}}
{{- if and .Values.externalSecrets.enabled (not .Values.secrets.existingApiKeySecret) }}true{{ end }}
{{- end }}

{{/* A memory quantity in MiB, from the units that the chart accepts: Mi and Gi. */}}
{{- define "app.mebibytes" -}}
{{- if hasSuffix "Gi" . }}{{ mul (int (trimSuffix "Gi" .)) 1024 }}{{ else }}{{ int (trimSuffix "Mi" .) }}{{ end }}
{{- end }}

{{/* The most pods that hold connections at once: in a rolling update all new pods may run while all old
ones drain. */}}
{{- define "app.podsMax" -}}
{{- if .Values.autoscaling.enabled }}{{ mul (int .Values.autoscaling.maxReplicas) 2 }}{{ else }}{{ mul (int .Values.replicaCount) 2 }}{{ end }}
{{- end }}

{{/* Selector of this release's series, by the labels that its ServiceMonitor gives them. */}}
{{- define "app.series" -}}
namespace="{{ .Release.Namespace }}",service="{{ include "app.fullname" . }}"
{{- end }}
