{{/* One line with a sentence for each label or annotation that would replace one of the chart's. */}}
{{- define "app.keyMistakes" -}}
{{- $v := .Values }}
{{- $labels := dict }}
{{- range list "name" "instance" "component" "version" "part-of" "managed-by" }}
{{- $_ := set $labels (print "app.kubernetes.io/" .) "the chart sets it; use another key" }}
{{- end }}
{{- $_ := set $labels "helm.sh/chart" "the chart sets it; use another key" }}
{{- $_ := set $labels "pod-template-hash" "the Deployment sets it; use another key" }}
{{- $more := deepCopy $labels }}
{{- range $key, $_ := $v.commonLabels }}
{{- $_ := set $more $key "commonLabels already sets it; remove it from one of the two" }}
{{- end }}
{{- include "app.taken" (dict "at" "commonLabels" "given" $v.commonLabels "taken" $labels) }}
{{- include "app.taken" (dict "at" "podLabels" "given" $v.podLabels "taken" $more) }}
{{- include "app.taken" (dict "at" "monitoring.labels" "given" $v.monitoring.labels "taken" $more) }}
{{- include "app.taken" (dict "at" "monitoring.dashboard.label" "given" (dict $v.monitoring.dashboard.label "") "taken" $more) }}
{{- $alert := dict }}
{{- range list "severity" "namespace" "service" "region" }}
{{- $_ := set $alert . "the chart sets it for every alert; use another key" }}
{{- end }}
{{- include "app.taken" (dict "at" "monitoring.alerts.labels" "given" $v.monitoring.alerts.labels "taken" $alert) }}
{{- $pod := dict "checksum/config" "the chart sets it; use another key"
                 "kubectl.kubernetes.io/default-container" "the chart sets it; use another key"
                 "eks.amazonaws.com/skip-containers" "the chart sets it, so that no container gets the role that reads secrets; remove it" }}
{{- include "app.taken" (dict "at" "podAnnotations" "given" $v.podAnnotations "taken" $pod) }}
{{- $account := dict "eks.amazonaws.com/role-arn" "set serviceAccount.roleArn" }}
{{- include "app.taken" (dict "at" "serviceAccount.annotations" "given" $v.serviceAccount.annotations "taken" $account) }}
{{- $ingress := dict "kubernetes.io/ingress.class" "set ingress.className" }}
{{- range $key, $instead := include "app.ingressValues" . | fromYaml }}
{{- $_ := set $ingress (print "alb.ingress.kubernetes.io/" $key) $instead }}
{{- end }}
{{- include "app.taken" (dict "at" "ingress.annotations" "given" $v.ingress.annotations "taken" $ingress) }}
{{- end }}

{{/* Annotations of the Ingress that must not be set directly: a value sets them and guards check it, or the chart
depends on them. */}}
{{- define "app.ingressValues" -}}
scheme: set ingress.scheme
ssl-policy: set ingress.sslPolicy
certificate-arn: set ingress.certificateArn
inbound-cidrs: set ingress.inboundCidrs
subnets: set ingress.subnets
security-groups: set ingress.securityGroups
manage-backend-security-group-rules: set ingress.securityGroups
wafv2-acl-arn: set ingress.wafAclArn
tags: set ingress.tags
load-balancer-attributes: set ingress.idleTimeoutSeconds or ingress.accessLogs, and other attributes in the IngressClassParams of the ingress class
target-group-attributes: set shutdown.deregistrationDelaySeconds
target-type: remove it; the load balancer must reach pods by their addresses
backend-protocol: remove it; pods serve plain HTTP
listen-ports: remove it; callers use HTTPS, and HTTP only redirects to it
ssl-redirect: remove it; callers use HTTPS, and HTTP only redirects to it
healthcheck-path: remove it; the health check is /readyz on the port of the pods, which says whether a pod takes requests
healthcheck-port: remove it; the health check is /readyz on the port of the pods, which says whether a pod takes requests
healthcheck-protocol: remove it; the health check is /readyz on the port of the pods, which says whether a pod takes requests
success-codes: remove it; /readyz answers 200 while a pod takes requests, and no other status means that
{{- end }}

{{/* Those lines for one value. Takes a dict of at, given, and taken, which has a hint for each key. */}}
{{- define "app.taken" -}}
{{- range $key, $_ := .given }}
{{- with get $.taken $key }}
{{ $.at }} has {{ quote $key }}: {{ . }}
{{- end }}
{{- end }}
{{- end }}
