{{/* Checks that the schema cannot make: the formats of strings, and whether values fit together. Each fails with a
sentence. */}}
{{- define "app.guards" -}}
{{- $v := .Values }}
{{- if not $v.region }}
{{- fail "region is empty: install with -f values-spain.yaml or -f values-mexico.yaml, or set region to an AWS region such as eu-south-2" }}
{{- end }}
{{- with include "app.formMistakes" . | trim }}
{{- fail . }}
{{- end }}
{{- $name := include "app.fullname" . }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) }}
{{- fail (printf "the release name is %q, which makes %q the name of a Service: that name must contain only lower-case letters, digits and \"-\" and begin with a letter; choose another release name, or set fullnameOverride" .Release.Name $name) }}
{{- end }}
{{- if has $name (list "true" "false" "yes" "no" "on" "off" "y" "n" "null") }}
{{- fail (printf "the release name is %q, which makes %q the name of a Service: YAML does not read that as a string; set fullnameOverride to another name" .Release.Name $name) }}
{{- end }}
{{- if not $v.serviceAccount.create }}
{{- if not $v.serviceAccount.name }}
{{- fail "serviceAccount.create is false: set serviceAccount.name to the name of an existing ServiceAccount" }}
{{- end }}
{{- if $v.serviceAccount.annotations }}
{{- fail "serviceAccount.create is false: serviceAccount.annotations must be empty, because the chart does not change a ServiceAccount that it does not create" }}
{{- end }}
{{- end }}
{{- $accounts := list (include "app.serviceAccountName" .) (include "app.migrationServiceAccountName" .) (printf "%s-prune" $name) }}
{{- if ne (len (uniq $accounts)) 3 }}
{{- fail (printf "serviceAccount.name and migration.serviceAccountName result in the ServiceAccounts %s: all three must differ, because the migration's is deleted and created again" (join ", " $accounts)) }}
{{- end }}
{{- if has "default" (ternary $accounts (rest $accounts) $v.serviceAccount.create) }}
{{- fail (printf "serviceAccount.name and migration.serviceAccountName result in the ServiceAccounts %s: every namespace already has one named default, and an install cannot take it over; choose another name" (join ", " $accounts)) }}
{{- end }}
{{- range $path, $secret := dict "secrets.existingDatabaseSecret" $v.secrets.existingDatabaseSecret "secrets.existingApiKeySecret" $v.secrets.existingApiKeySecret }}
{{- if has $secret (list (print $name "-migrate") (print $name "-prune")) }}
{{- fail (printf "%s is %q: the chart uses that name for a Secret with the owner's login; set the name of a Secret of your own" $path $secret) }}
{{- end }}
{{- end }}
{{- $both := include "app.databaseSecret" . }}
{{- if and (eq $both (include "app.apiKeySecret" .)) (or (include "app.makesDatabaseSecret" .) (include "app.makesApiKeySecret" .)) }}
{{- fail (printf "secrets.existingDatabaseSecret is %q and secrets.existingApiKeySecret is %q: both would be the Secret %q, and External Secrets would overwrite the existing one; set another name" $v.secrets.existingDatabaseSecret $v.secrets.existingApiKeySecret $both) }}
{{- end }}
{{- with include "app.keyMistakes" . | trim }}
{{- fail . }}
{{- end }}
{{- range $path, $networks := dict "ingress.inboundCidrs" $v.ingress.inboundCidrs "networkPolicy.loadBalancerCidrs" $v.networkPolicy.loadBalancerCidrs "networkPolicy.databaseCidrs" $v.networkPolicy.databaseCidrs "networkPolicy.dnsCidrs" $v.networkPolicy.dnsCidrs }}
{{- range $number, $network := $networks }}
{{- $right := include "app.network" $network }}
{{- if ne $right $network }}
{{- fail (printf "%s[%d] is %q: the address has bits set after the prefix; it must be %s" $path $number $network $right) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $number, $one := $v.scheduling.tolerations }}
{{- $at := printf "scheduling.tolerations[%d]" $number }}
{{- $exists := eq (default "Equal" $one.operator) "Exists" }}
{{- if not (or $one.key $exists) }}
{{- fail (printf "%s has no key: set it to the taint's key, or set operator to Exists to tolerate every taint" $at) }}
{{- end }}
{{- if and $exists $one.value }}
{{- fail (printf "%s.value is %q: with operator Exists it must be empty; set operator to Equal to compare it" $at $one.value) }}
{{- end }}
{{- if and (hasKey $one "tolerationSeconds") (ne (default "" $one.effect) "NoExecute") }}
{{- fail (printf "%s.tolerationSeconds is %v: it is allowed only if effect is NoExecute" $at $one.tolerationSeconds) }}
{{- end }}
{{- end }}
{{- if eq (len $v.ingress.subnets) 1 }}
{{- fail (printf "ingress.subnets has only %s: a load balancer needs subnets in at least two zones; add more, or leave it empty so that the controller finds them by their tags" (first $v.ingress.subnets)) }}
{{- end }}
{{- range $key, $_ := $v.ingress.tags }}
{{- if hasPrefix "aws:" (lower $key) }}
{{- fail (printf "ingress.tags has %q: keys that begin with aws: are reserved for AWS; use another key" $key) }}
{{- end }}
{{- end }}
{{- if contains "AWSLogs" $v.ingress.accessLogs.prefix }}
{{- fail (printf "ingress.accessLogs.prefix is %q: it must not contain AWSLogs, which AWS itself appends to the prefix" $v.ingress.accessLogs.prefix) }}
{{- end }}
{{- range $times := regexFindAll "[0-9]+-[0-9]+" $v.prune.schedule -1 }}
{{- $ends := splitList "-" $times }}
{{- if gt (int (first $ends)) (int (last $ends)) }}
{{- fail (printf "prune.schedule is %q: the range %s ends before it begins" $v.prune.schedule $times) }}
{{- end }}
{{- end }}
{{- $answer := divf (addf 2000 $v.settings.paymentDeadlineMs 1000) 1000 }}
{{- if and $v.ingress.enabled (le (float64 $v.ingress.idleTimeoutSeconds) $answer) }}
{{- fail (printf "ingress.idleTimeoutSeconds is %v: it must be more than the longest request takes (2 s of processing + settings.paymentDeadlineMs + 1 s), which is %v s; otherwise the load balancer gives up on a payment that may still be written" $v.ingress.idleTimeoutSeconds $answer) }}
{{- end }}
{{- $longest := addf $answer (divf $v.settings.drainMs 1000) }}
{{- $leaving := addf $v.shutdown.preStopSeconds (divf $v.settings.drainMs 1000) }}
{{- if and $v.ingress.enabled (ge (float64 $v.shutdown.deregistrationDelaySeconds) $leaving) }}
{{- fail (printf "shutdown.deregistrationDelaySeconds is %v: it must be less than shutdown.preStopSeconds + settings.drainMs, which is %v s; otherwise the load balancer sends requests to a pod that is already gone" $v.shutdown.deregistrationDelaySeconds $leaving) }}
{{- end }}
{{- $needed := addf $v.shutdown.preStopSeconds $longest }}
{{- if le (float64 $v.shutdown.terminationGracePeriodSeconds) $needed }}
{{- fail (printf "shutdown.terminationGracePeriodSeconds is %v: it must be more than shutdown.preStopSeconds + settings.drainMs + the longest request (2 s of processing + settings.paymentDeadlineMs + 1 s), which is %v s; otherwise a pod may be killed in the middle of a payment" $v.shutdown.terminationGracePeriodSeconds $needed) }}
{{- end }}
{{- if gt (int $v.settings.checkoutTimeoutMs) (int $v.settings.paymentDeadlineMs) }}
{{- fail (printf "settings.checkoutTimeoutMs is %v: it must not be more than settings.paymentDeadlineMs, which is %v" $v.settings.checkoutTimeoutMs $v.settings.paymentDeadlineMs) }}
{{- end }}
{{- if gt (int $v.settings.exchangeTimeoutMs) (int $v.settings.paymentDeadlineMs) }}
{{- fail (printf "settings.exchangeTimeoutMs is %v: it must not be more than settings.paymentDeadlineMs, which is %v" $v.settings.exchangeTimeoutMs $v.settings.paymentDeadlineMs) }}
{{- end }}
{{- if $v.autoscaling.enabled }}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) }}
{{- fail (printf "autoscaling.minReplicas is %v: it must not be more than autoscaling.maxReplicas, which is %v" $v.autoscaling.minReplicas $v.autoscaling.maxReplicas) }}
{{- end }}
{{- end }}
{{- $pods := int (include "app.podsMax" .) }}
{{- $connections := add (mul (int $v.settings.poolSize) $pods) 2 }}
{{- if gt $connections (int $v.database.connectionsMax) }}
{{- fail (printf "settings.poolSize is %v: with %d pods (twice the maximum: during a rolling update, old pods keep their connections until they have drained) and 2 connections for migration and pruning, that is %d connections, more than database.connectionsMax, which is %v; lower settings.poolSize or the maximum number of pods, or raise database.connectionsMax" $v.settings.poolSize $pods $connections $v.database.connectionsMax) }}
{{- end }}
{{- if not $v.externalSecrets.enabled }}
{{- if not (and $v.secrets.existingDatabaseSecret $v.secrets.existingApiKeySecret) }}
{{- fail "externalSecrets.enabled is false: set secrets.existingDatabaseSecret (key database_url) and secrets.existingApiKeySecret (key api_key)" }}
{{- end }}
{{- if or $v.migration.enabled $v.prune.enabled }}
{{- fail "externalSecrets.enabled is false: migration.enabled and prune.enabled must be false, because the owner's URL comes from External Secrets" }}
{{- end }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}
{{- fail "ingress.host is empty: set it to the host name that callers use, such as payments.example.com, or set ingress.enabled to false" }}
{{- end }}
{{- if and $v.ingress.wafAclArn (not (contains (printf ":%s:" $v.region) $v.ingress.wafAclArn)) }}
{{- fail (printf "ingress.wafAclArn is %s: the web ACL must be in the load balancer's region, %s" $v.ingress.wafAclArn $v.region) }}
{{- end }}
{{- if and $v.ingress.certificateArn (not (contains (printf ":%s:" $v.region) $v.ingress.certificateArn)) }}
{{- fail (printf "ingress.certificateArn is %s: the certificate must be in the load balancer's region, %s" $v.ingress.certificateArn $v.region) }}
{{- end }}
{{- /* The same check as the service's (src/config/residency.rs): no label of the host may be the name of another
region, and the label where RDS puts the region must be this one. */}}
{{- range $key := list "host" "ownerHost" }}
{{- $host := get $v.database $key }}
{{- $rds := regexFind "[^.]+\\.rds\\.amazonaws\\.com(\\.cn)?$" $host | splitList "." | first }}
{{- range append (splitList "." $host) $rds }}
{{- if and . (ne . $v.region) (or (eq . $rds) (regexMatch (printf "^(%s)$" (include "app.regionPattern" $)) .)) }}
{{- fail (printf "database.%s is %s: it is in %s, but region is %s, and payments stay in their region" $key $host . $v.region) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $key := list "apiKeyName" "databaseName" "databaseOwnerName" }}
{{- $given := get $v.externalSecrets $key }}
{{- if and (hasPrefix "arn:" $given) (not (contains (printf ":secretsmanager:%s:" $v.region) $given)) }}
{{- fail (printf "externalSecrets.%s is %s: it must be a secret in Secrets Manager of the release's region, %s" $key $given $v.region) }}
{{- end }}
{{- end }}
{{- /* Twice what the service and its buffers take. Then, for each connection: what it takes in the service
(docs/PERFORMANCE.md), and what the kernel counts against the pod, 4 KiB for the records of its socket and 8 KiB for
data in transit. */}}
{{- $memory := int (include "app.mebibytes" $v.resources.memory) }}
{{- $wanted := int (ceil (divf (addf 75497472 (mulf $v.settings.maxConnections 13517)) 1048576)) }}
{{- if lt $memory $wanted }}
{{- fail (printf "resources.memory is %s: settings.maxConnections, which is %v, and the service's buffers need at least %dMi; raise resources.memory or lower settings.maxConnections" $v.resources.memory $v.settings.maxConnections $wanted) }}
{{- end }}
{{- $fewest := int (ternary $v.autoscaling.minReplicas $v.replicaCount $v.autoscaling.enabled) }}
{{- if and $v.podDisruptionBudget.enabled (gt $fewest 1) (ge (int $v.podDisruptionBudget.maxUnavailable) $fewest) }}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %v: it must be less than the minimum number of pods, which is %d; otherwise a drain may evict all of them" $v.podDisruptionBudget.maxUnavailable $fewest) }}
{{- end }}
{{- range $key, $default := dict "ownerHost" "" "port" 5432 "name" "payments" }}
{{- $given := get $v.database $key }}
{{- if and (not $v.database.host) (ne (toString $given) (toString $default)) }}
{{- fail (printf "database.%s is %v: it has no effect unless database.host is set; host, port and name then come from these values instead of the secrets" $key $given) }}
{{- end }}
{{- end }}
{{- if and $v.database.host $v.networkPolicy.enabled (ne (int $v.database.port) (int $v.networkPolicy.databasePort)) }}
{{- fail (printf "database.port is %v: it must equal networkPolicy.databasePort, which is %v; otherwise the network policy blocks connections to the database" $v.database.port $v.networkPolicy.databasePort) }}
{{- end }}
{{- if and $v.ingress.securityGroups $v.ingress.inboundCidrs }}
{{- fail "ingress.inboundCidrs has no effect if ingress.securityGroups is set: allow these networks in those security groups and leave ingress.inboundCidrs empty, or leave ingress.securityGroups empty" }}
{{- end }}
{{- $interval := int (trimSuffix "s" $v.monitoring.scrapeInterval) }}
{{- if gt (int (trimSuffix "s" $v.monitoring.scrapeTimeout)) $interval }}
{{- fail (printf "monitoring.scrapeTimeout is %s: it must not be longer than monitoring.scrapeInterval, which is %s" $v.monitoring.scrapeTimeout $v.monitoring.scrapeInterval) }}
{{- end }}
{{- end }}

{{/* An IPv4 network with the bits after its prefix cleared; an IPv6 network unchanged. */}}
{{- define "app.network" -}}
{{- if contains ":" . }}
{{- . }}
{{- else }}
{{- $parts := splitList "/" . }}
{{- $address := 0 }}
{{- range splitList "." (first $parts) }}{{ $address = add (mul $address 256) (int .) }}{{ end }}
{{- $size := 1 }}
{{- range until (int (sub 32 (int (last $parts)))) }}{{ $size = mul $size 2 }}{{ end }}
{{- $first := sub $address (mod $address $size) }}
{{- printf "%d.%d.%d.%d/%s" (div $first 16777216) (mod (div $first 65536) 256) (mod (div $first 256) 256) (mod $first 256) (last $parts) }}
{{- end }}
{{- end }}
